// Every word of the page in both languages, and the daemon's reasons in Chinese.

const WORDS = {
  price_and_ladder: ["Price and ladder", "价格与挂单阶梯"],
  slots: ["Slots", "槽位"],
  slot: ["slot", "槽位"], level: ["level", "价位"], order: ["order", "订单"], quantity: ["quantity", "数量"], holds: ["holds", "持有"],
  pnl_over_time: ["Profit and loss", "盈亏"],
  inventory: ["Inventory", "库存"], equity: ["Equity", "权益"],
  happened: ["What happened", "动态"],
  time: ["time", "时间"], what: ["what", "事件"], symbol: ["symbol", "品种"], details: ["details", "详情"], result: ["result", "结果"],
  risk_gate: ["Risk gate", "风控闸门"], machine: ["Latency and budget", "延迟与频率额度"],
  rate_budget: ["order budget left", "剩余下单额度"], token: ["Token", "令牌"],
  grid: ["grid", "网格"], inventory_part: ["inventory", "库存"], fees: ["fees", "手续费"], funding: ["funding", "资金费"], total: ["total", "合计"],
  buy: ["buy", "买"], sell: ["sell", "卖"], held: ["held", "持仓"], fill: ["fill", "成交"],
  buys: ["buys", "买单"], sells: ["sells", "卖单"], fills: ["fills", "成交"], held_slots: ["held slots", "持仓槽位"],
  all: ["all", "全部"], orders: ["orders", "订单"], alerts: ["alerts", "告警"], alert: ["alert", "告警"], control: ["control", "控制"],
  last_price: ["Last price", "最新价"], position: ["Position", "持仓"], profit: ["Profit after fees", "净盈亏"],
  equity_now: ["Account equity", "账户权益"], quoted: ["Quoted", "挂单"], quoting_time: ["Quoting time", "报价时间"],
  average: ["average", "均价"], value: ["value", "市值"], residual: ["unexplained", "未解释差额"],
  since_start: ["since the start", "自启动以来"], round_trips: ["from {0} fills", "来自 {0} 笔成交"],
  bids_asks: ["{0} buys · {1} sells", "{0} 买 · {1} 卖"], slots_held: ["{0} slots hold inventory", "{0} 个槽位持仓"],
  of_time: ["of {0}", "共 {0}"],
  live: ["live", "实时"], connecting: ["connecting", "连接中"], lost: ["connection lost", "连接断开"],
  quoting: ["Quoting", "正在报价"], paused: ["Paused", "已暂停"], waiting: ["Not quoting", "未报价"], ended: ["Ended", "已结束"],
  failed: ["Given up", "已放弃"], starting: ["Starting", "启动中"], stopping: ["Stopping", "停止中"],
  not_quoting_because: ["not quoting because {0}", "未报价，原因：{0}"],
  quoting_reason: ["{0} buys and {1} sells rest at the exchange", "交易所挂有 {0} 个买单、{1} 个卖单"],
  connection_lost: ["No word from the daemon since {0}; trying again", "自 {0} 起未收到守护进程消息，正在重试"],
  token_needed: ["This address shows nothing without the token", "此地址需要令牌才能查看"],
  pause: ["Pause", "暂停"], resume: ["Resume", "恢复"], "cancel-all": ["Cancel all", "全部撤单"], flatten: ["Flatten", "平仓"], reload: ["Reload", "重载配置"],
  ask_pause: ["Pause {0}?", "暂停 {0}？"],
  about_pause: ["Every entry is cancelled and none is placed. Exits of what is held go on. It stays paused until resumed, over restarts too where state_dir is set.",
    "撤销所有开仓单，且不再开仓；已持有库存的平仓单继续。直到恢复前一直暂停（设置了 state_dir 时重启后仍暂停）。"],
  ask_resume: ["Resume {0}?", "恢复 {0}？"],
  about_resume: ["The grid quotes again as configured.", "网格按配置重新报价。"],
  "ask_cancel-all": ["Cancel every order of {0}?", "撤销 {0} 的全部订单？"],
  "about_cancel-all": ["Every order of ours is cancelled, exits too, and none is placed until resumed. What is held stays held and is not offered. A stop loss still acts.",
    "撤销我们的所有订单（包括平仓单），恢复前不再挂单。持仓保留但不挂出。止损仍然有效。"],
  ask_flatten: ["Close the whole position of {0}?", "平掉 {0} 的全部持仓？"],
  about_flatten: ["Every order is cancelled and {1} are given back at the market, reduce-only. This realises the present loss or gain. Nothing is opened until resumed.",
    "撤销全部订单，并以只减仓方式按市价平掉 {1}。当前浮动盈亏将兑现。恢复前不再开仓。"],
  ask_reload: ["Change to what the file says?", "按配置文件更改？"],
  about_reload: ["This differs from what the daemon runs with:", "与当前运行配置的差异："],
  nothing_differs: ["Nothing differs from the file.", "与文件没有差异。"],
  needs_restart: ["needs a restart", "需要重启"],
  orders_move: ["{0} orders would be cancelled and {1} placed at once", "将立即撤销 {0} 个订单、下 {1} 个订单"],
  do_it: ["Yes, {0}", "确认{0}"], no: ["No", "取消"], close: ["Close", "关闭"], apply: ["Apply", "应用"],
  enter_token: ["Token needed", "需要令牌"],
  about_token: ["Acting needs the token: it is printed with the address when the daemon starts in a terminal, or it is http.token of the configuration.",
    "操作需要令牌：守护进程在终端启动时随地址打印，或为配置中的 http.token。"],
  wrong_token: ["The token was refused.", "令牌被拒绝。"],
  working: ["{0} …", "{0} 中…"], done: ["done", "完成"], not_done: ["NOT done", "未完成"],
  all_symbols: ["all symbols", "全部品种"],
  no_news: ["Nothing yet", "暂无"], no_data_yet: ["collecting", "收集中"],
  gate_open: ["open", "开放"], gate_shut: ["shut: no new entries", "关闭：不开新仓"], gate_off: ["off", "未启用"],
  panics: ["panics", "恐慌"], calm: ["calm", "平静"], recovered: ["recovered", "已恢复"], no_data: ["no data", "无数据"],
  volume_times: ["volume {0}× of average, alarm at {1}×", "成交量为均值 {0} 倍，阈值 {1} 倍"],
  recovered_of: ["{0} of {1} recovered", "已恢复 {0} / 需 {1}"],
  tick_to_order: ["price to order: p50 {0}, p99 {1}", "行情到下单：p50 {0}，p99 {1}"],
  no_samples: ["no order yet", "尚无下单"],
  price_age: ["price age", "价格年龄"], stream_losses: ["reconnects (price · orders)", "重连（行情 · 订单）"],
  snapshots: ["last reconcile", "上次对账"], queue: ["queue now · most", "队列 当前 · 峰值"], sent: ["sent places · cancels", "已发 下单 · 撤单"],
  refused: ["refused · unknown", "被拒 · 未知"], differences: ["position differences", "持仓差异"],
  ago: ["{0} ago", "{0}前"], footer: ["{0} {1} · started {2} · pid {3}", "{0} {1} · 启动于 {2} · pid {3}"],
  opened: ["gate", "闸门"], filled: ["filled", "已成交"], maker: ["maker", "挂单"], taker: ["taker", "吃单"],
};

const REASONS = [
  [/^outside the window$/, "在窗口之外"], [/^outside the sell window$/, "在卖出窗口之外"],
  [/^stopping$/, "正在停止"], [/^order stream is not live$/, "订单流未就绪"],
  [/^waiting for a snapshot of orders and position$/, "等待订单与持仓快照"], [/^waiting for the first price$/, "等待首个价格"],
  [/^waiting for trigger_price$/, "等待触发价"], [/^insufficient margin: entries wait$/, "保证金不足：暂停开仓"],
  [/^position and slots differ: being looked into$/, "持仓与槽位不一致：正在核对"],
  [/^max_open_orders reached$/, "已达最大挂单数"], [/^max_position reached$/, "已达最大持仓"],
  [/^post_only strict: waiting for the price to move away$/, "post_only strict：等待价格远离"],
  [/^given up by the order cleaner until the price moves a level$/, "已被订单清理器撤销，待价格移动一格"],
  [/^order_amount is below the minimum at this level$/, "此价位 order_amount 低于最小额"],
  [/^no level may be quoted at this price$/, "当前价格没有可报价的价位"],
  [/^about to be (placed|offered)$/, "即将下单"],
  [/^waiting after: (.*)$/, "稍后重试：$1"],
  [/^paused: by the operator$/, "已由操作者暂停"], [/^held: by the operator$/, "已由操作者撤单并停挂"],
  [/^paused: flattened by the operator$/, "已由操作者平仓"], [/^flattened by the operator$/, "已由操作者平仓"],
  [/^risk: (.*)$/, "风控：$1"], [/^feed: (.*)$/, "行情：$1"], [/^disk: (.*)$/, "磁盘：$1"], [/^limits: (.*)$/, "限额：$1"], [/^funding: (.*)$/, "资金费：$1"],
  [/^(stop_loss|take_profit) at (.*) reached$/, "已触及 $1 $2"],
  [/price is ([\d.]+) s old/, "价格已 $1 秒未更新"], [/price stream is down: (.*)/, "行情流断开：$1"],
  [/^starting$/, "启动中"],
  [/^(\d+) of (\d+) closed candles$/, "已收 $1 / $2 根K线"], [/^no candle yet$/, "尚无K线"], [/^quiet for (\d+) s$/, "静默 $1 秒"], [/^no volume$/, "无成交量"],
  [/^long arithmetic /, "做多 等差 "], [/^long geometric /, "做多 等比 "], [/^short arithmetic /, "做空 等差 "], [/^short geometric /, "做空 等比 "],
  [/^neutral arithmetic /, "中性 等差 "], [/^neutral geometric /, "中性 等比 "],
];

let chinese = (localStorage.getItem("language") || navigator.language || "en").toLowerCase().startsWith("zh");

export const isChinese = () => chinese;
export const locale = () => (chinese ? "zh-CN" : "en-GB");

export function setChinese(wanted) {
  chinese = wanted;
  localStorage.setItem("language", wanted ? "zh" : "en");
  document.documentElement.lang = wanted ? "zh-CN" : "en";
}

export function say(key, ...values) {
  const entry = WORDS[key];
  const text = entry ? entry[chinese ? 1 : 0] : key;
  return text.replace(/\{(\d)\}/g, (_, place) => values[Number(place)] ?? "");
}

export function reason(text) {
  if (!chinese) return text;
  const named = /^([A-Z0-9/:_-]{2,}): (.*)$/.exec(text);
  if (named) return `${named[1]}：${reason(named[2])}`;
  for (const [pattern, words] of REASONS) if (pattern.test(text)) return text.replace(pattern, words);
  return text;
}

export function translatePage() {
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = say(element.dataset.word);
}

"""HTTP in a process of its own: it is shown frozen readings and passes requests on, and that is all it can do.

    link      one JSON message after another between the daemon and this process
    routes    the table of everything that is served
    openapi   the description of that table
    guard     who may ask: Host, Origin, token
    server    requests, answers, streams
    asked     bodies and queries, checked
    replies   what every answer carries
    door      one connection; what is asked again and again is not read again
    metrics   a reading as Prometheus text
    history   readings over time, for the plots
    page/     the dashboard: plain HTML, CSS and JavaScript, served as they are

The daemon starts this process only when `http.listen` is set, restarts it when it ends, and goes on trading whatever
becomes of it. The network libraries, the exchange's keys and the slots are never in the same process.
"""

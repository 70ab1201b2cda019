"""How post-only degrades: after so many rejections in a row a slot's next order may take; a fill starts anew."""

from __future__ import annotations

from typing import Final

from marketmaker.model.settings import PostOnlyPolicy

OFF: Final = PostOnlyPolicy.OFF
STRICT: Final = PostOnlyPolicy.STRICT


def next_is_post_only(policy: PostOnlyPolicy, rejects_in_a_row: int, allowed_rejects: int) -> bool:
    """Whether the next attempt in a slot is post-only."""
    if policy is OFF:
        return False
    if policy is STRICT:
        return True
    return rejects_in_a_row < allowed_rejects

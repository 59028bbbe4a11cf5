"""Access control by the x-token header."""

import os
import secrets
from typing import Annotated

from fastapi import Header, HTTPException, status

TOKEN = os.environ.get("STORE_TOKEN", "secret-demo")


async def require_token(x_token: Annotated[str | None, Header()] = None) -> None:
    """Answer 401 without a token and 403 with a wrong one."""
    if x_token is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "missing x-token header")
    if not secrets.compare_digest(x_token.encode(), TOKEN.encode()):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "invalid x-token header")

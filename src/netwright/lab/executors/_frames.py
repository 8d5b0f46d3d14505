"""Messages between a driver and its workers over a pipe: JSON, and beside it bytes under the name "content"."""

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

from netwright.core.document import parsed

HEAD = struct.Struct("!QQ")  # how long both parts are


def send(file: IO[bytes], message: Mapping[str, Any]) -> None:
    """Write a message.

    Raises:
        OSError: the other side is gone.
    """
    text = json.dumps({name: value for name, value in message.items() if name != "content"}).encode()
    content = message.get("content", b"")
    file.write(HEAD.pack(len(text), len(content)) + text + content)
    file.flush()


def receive(file: IO[bytes]) -> dict[str, Any] | None:
    """The next message; None if the other side is gone, in the middle of one too."""
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    sizes = HEAD.unpack(head)
    text, content = (file.read(size) for size in sizes)
    if (len(text), len(content)) != sizes:
        return None
    return parsed(text) | ({"content": content} if content else {})

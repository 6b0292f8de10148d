"""The address of the page: a port of 127.0.0.1."""

import errno
import os
import socket

from vae_lightning.config.errors import InputError

__all__ = ["HOST", "bound"]

HOST = "127.0.0.1"


def bound(port: int) -> socket.socket:
    """Return a socket on a port of this machine's own address; 0 for a free port.

    Raises:
        InputError: if the port is in use, or only the administrator may use it.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise InputError(f"port={port}: must be a free one, and 0 chooses one ({os.strerror(error.errno)})") from error

"""What kind of file system a path lies on, as far as a database must care."""

from __future__ import annotations

import os
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")

# SQLite's write-ahead log needs memory shared by all who have the file open, and locks that they all see: not between
# machines (https://sqlite.org/wal.html, "must be on the same host computer").
_OF_A_NETWORK = {
    *("afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gfs2", "gpfs"),
    *("lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs"),
}


def network_share(path: Path) -> str | None:
    """The type of the network file system that an existing path lies on; None where it is local, or nobody can say."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    for line in lines:
        # proc(5): id, parent, major:minor, ..., optional fields, "-", type, source, options
        mount, _, kind = line.partition(" - ")
        if mount.split()[2:3] == [number] and kind.split()[0] in _OF_A_NETWORK:
            return kind.split()[0]
    return None

"""File systems whose /proc and /sys tell of cgroups, for tests of what limits a process."""

from pathlib import Path

V2 = "31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
)
HYBRID = V1.format(root="/") + "41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n"


def machine(root: Path, cgroup: str, mountinfo: str, **files: str) -> Path:
    """A file system whose /proc says this of cgroups; files: what lies under /sys/fs/cgroup."""
    for name, text in {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root

"""How much memory this process takes."""

from __future__ import annotations

MEGABYTE = 1e6


def resident(which: str) -> float:
    """Resident size of this process in bytes: now ("VmRSS") or the largest so far ("VmHWM").

    getrusage's figure would include what the process was before it became this program; it stands
    in, for either, where the system has no /proc.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith(f"{which}:"):
                    return 1024.0 * int(line.split()[1])
    except OSError:
        pass
    import resource

    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

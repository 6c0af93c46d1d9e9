"""What the self-test found, for people."""

from __future__ import annotations

from fasthep_archive.kernels.cuda.listing import Listing
from fasthep_archive.kernels.selftest import Part, SelfTest
from fasthep_archive.report.terminal import Screen, coloured, printable


def selftest(found: SelfTest, devices: Listing, seconds: float, screen: Screen) -> str:
    """Return a line for each part, with what failed below it, for each GPU, and the verdict."""
    width = max(len(part.name) for part in found.parts)
    lines = [line for part in found.parts for line in _part(part, width, screen)]
    lines += [f"may have done it: {printable(path)}" for path in found.suspects]
    lines += _devices(devices, screen)
    tests = sum(part.tests for part in found.parts)
    failures = len(found.failures) + len(devices.refused)
    verdict = f"{failures} failures" if failures else "passed"
    lines.append(coloured(f"{verdict}: {tests:,} tests in {seconds:.1f} s", _colour(not failures), screen))
    return "\n".join([*lines, f"digest {found.digest}"])


def _part(part: Part, width: int, screen: Screen) -> list[str]:
    verdict = coloured("FAILED" if part.failures else "ok", _colour(not part.failures), screen)
    return [f"{part.name:{width}}  {part.tests:6,} tests  {verdict}", *(f"  {text}" for text in part.failures)]


def _devices(found: Listing, screen: Screen) -> list[str]:
    """Return a line for each GPU, or why there is none."""
    good = [
        f"GPU {device.ordinal}: {printable(device.name)}  {coloured('ok', 'green', screen)}" for device in found.devices
    ]
    bad = [f"GPU {coloured('FAILED', 'red', screen)}: {printable(reason)}" for reason in found.refused]
    return [*good, *bad, *([f"no GPU: {printable(found.lacking)}"] if found.lacking else [])]


def _colour(good: bool) -> str:
    return "green" if good else "red"

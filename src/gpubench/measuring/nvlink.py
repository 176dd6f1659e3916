"""NVLink and its surroundings, as NVML tells them, and what is wrong with them.

Readings are words, one a link and in order: "up up down", bytes a second, error counts. They are
taken once a run; `problems` names links that are dead, slow or have errors, and switches that are
not ready.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from gpubench.model import Caution

Value = float | int | str

LINK_BYTES = {1: 20e9, 2: 25e9, 3: 25e9, 4: 25e9, 5: 50e9}
"""B/s of a link one way by generation: what data sheets add up to 300, 600, 900 and 1800 GB/s over
6, 12, 18 and 18 links and both directions."""

# nvmlNvlinkVersion_t by nvml.h: 1.0, 2.0, 2.2, 3.0, 3.1, 4.0, 5.0, 6.0.
_GENERATIONS = {1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 4, 7: 5, 8: 6}
_FABRIC = {0: "not supported", 1: "not started", 2: "in progress", 3: "completed"}
_ENDS = {0: "GPU", 1: "CPU", 2: "switch"}
_PCI_DEVICES = Path("/sys/bus/pci/devices")


class Questions(Protocol):
    """Asks for values, and keeps the driver's reason where one is refused."""

    def one(self, name: str, query: Callable[[], Value]) -> bool:
        """Ask for one value; whether it was given."""
        ...

    def many(self, name: str, query: Callable[[], Mapping[str, Value]]) -> bool:
        """Ask for several at once; whether they were given."""
        ...


def ask(questions: Questions, nvml: Any, board: Any, gone: tuple[int, ...]) -> None:
    """Ask for the state, version, rate, far end and errors of each link, fabric and NUMA node.

    `gone` are NVML's codes for a card that is lost, which no question may swallow.
    """
    if questions.many("nvlink_states", partial(_states, nvml, board, gone)):
        count = len(_states(nvml, board, gone)["nvlink_states"].split())
        links = range(count)
        version = partial(nvml.nvmlDeviceGetNvLinkVersion, board)
        questions.one("nvlink_generation", lambda: _GENERATIONS[version(0)])
        questions.one("nvlink_rates", lambda: _words(links, partial(_rate, nvml, board)))
        end = partial(nvml.nvmlDeviceGetNvLinkRemoteDeviceType, board)
        questions.one("nvlink_ends", lambda: _words(links, lambda link: _ENDS[end(link)]))
        questions.one("nvlink_errors", lambda: _words(links, partial(_errors, nvml, board)))
    questions.one("fabric_state", lambda: _fabric(nvml, board))
    questions.one("numa_node", lambda: _numa_node(nvml, board))


def _states(nvml: Any, board: Any, gone: tuple[int, ...]) -> dict[str, Any]:
    """The state of each link, in order. Raises NVMLError when the first is refused."""
    states = list[str]()
    for link in range(nvml.NVML_NVLINK_MAX_LINKS):
        try:
            state = nvml.nvmlDeviceGetNvLinkState(board, link)
        except nvml.NVMLError as error:
            if link == 0 or error.value in gone:
                raise
            if error.value == nvml.NVML_ERROR_INVALID_ARGUMENT:
                break  # beyond the last link of this card
            states.append("refused")
        else:
            states.append("up" if state else "down")
    return {"nvlink_states": " ".join(states), "nvlink_up": states.count("up")}


def _words(links: range, each: Callable[[int], object]) -> str:
    return " ".join(str(each(link)) for link in links)


def _rate(nvml: Any, board: Any, link: int) -> int:
    """B/s of a link one way as it is trained, line code included; 0 where it is down."""
    asked = (nvml.NVML_FI_DEV_NVLINK_GET_SPEED, link)
    found = nvml.nvmlDeviceGetFieldValues(board, [asked])[0]
    if found.nvmlReturn != nvml.NVML_SUCCESS:
        raise nvml.NVMLError(found.nvmlReturn)
    return int(found.value.uiVal) * 10**6


def _errors(nvml: Any, board: Any, link: int) -> int:
    """Replays, recoveries and CRC errors of a link since the driver was loaded."""
    counters = (
        nvml.NVML_NVLINK_ERROR_DL_REPLAY,
        nvml.NVML_NVLINK_ERROR_DL_RECOVERY,
        nvml.NVML_NVLINK_ERROR_DL_CRC_FLIT,
        nvml.NVML_NVLINK_ERROR_DL_CRC_DATA,
    )
    return sum(int(nvml.nvmlDeviceGetNvLinkErrorCounter(board, link, n)) for n in counters)


def _fabric(nvml: Any, board: Any) -> str:
    """The state of the switch fabric, with its status where it is complete."""
    from ctypes import byref

    info = nvml.c_nvmlGpuFabricInfo_t()
    nvml.nvmlDeviceGetGpuFabricInfo(board, byref(info))
    state = _FABRIC[int(info.state)]
    return f"{state}, error {info.status}" if state == "completed" and info.status else state


def _numa_node(nvml: Any, board: Any, devices: Path = _PCI_DEVICES) -> int:
    """Of the processor that the card's PCI Express ends at; -1 where the kernel does not say."""
    told = nvml.nvmlDeviceGetPciInfo(board).busId
    name = (told.decode() if isinstance(told, bytes) else str(told)).lower()
    # NVML writes the domain with eight digits, the kernel with four.
    domain, _, rest = name.partition(":")
    try:
        return int((devices / f"{domain[-4:]}:{rest}" / "numa_node").read_text("ascii"))
    except (OSError, ValueError):
        return -1


# --------------------------------------------------------------------------- what is wrong


def bandwidth(card: Mapping[str, Value]) -> float | None:
    """B/s of all links that are up, both directions added; None where they are not told."""
    up, generation = card.get("nvlink_up"), card.get("nvlink_generation")
    if not isinstance(up, int) or not up or not isinstance(generation, int):
        return None
    each = LINK_BYTES.get(generation)
    return 2 * each * up if each else None


def problems(card: Mapping[str, Value], links: int = 0) -> tuple[Caution, ...]:
    """What is wrong with the links of a card; `links` is how many it should have, 0 if unknown."""
    states = str(card.get("nvlink_states", "")).split()
    up = states.count("up")
    found = []
    down = [number for number, state in enumerate(states) if state == "down"]
    if up and down and not (links and up >= links):
        fact = f"{_named(down)} of {len(states)} {'is' if len(down) == 1 else 'are'} down"
        remedy = "see `nvidia-smi nvlink --status`; reset the GPU, or return it"
        found.append(Caution("link-down", fact, remedy))
    found += _slow(card, states)
    errors = [int(word) for word in str(card.get("nvlink_errors", "")).split()]
    if wrong := [number for number, count in enumerate(errors) if count]:
        fact = f"{_named(wrong)} had {sum(errors):,} errors since the driver was loaded"
        found.append(Caution("link-errors", fact, "watch whether they grow while it works"))
    state = str(card.get("fabric_state", ""))
    if "switch" in str(card.get("nvlink_ends", "")) and state not in ("", "completed"):
        fact = f"the switch fabric is {state}"
        found.append(Caution("fabric-not-ready", fact, "start nvidia-fabricmanager, or wait"))
    return tuple(found)


def _slow(card: Mapping[str, Value], states: list[str]) -> list[Caution]:
    rates = [int(word) for word in str(card.get("nvlink_rates", "")).split()]
    if len(rates) != len(states) or not rates:
        return []
    best = max(rates)
    slow = [n for n, rate in enumerate(rates) if states[n] == "up" and rate < best]
    if not slow:
        return []
    fact = f"{_named(slow)} at {min(rates[n] for n in slow) / 1e9:.1f} of {best / 1e9:.1f} GB/s"
    return [Caution("link-slow", fact, "reset the GPU, so that its links are trained again")]


def _named(links: list[int]) -> str:
    return f"NVLink {links[0]}" if len(links) == 1 else f"NVLinks {', '.join(map(str, links))}"

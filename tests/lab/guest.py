"""One guest: a QEMU process of its own, which may be cut from its power at any time."""

import errno
import json
import signal
import socket
import subprocess
import time
from pathlib import Path

from deploy.local.place import ROOT
from tests.lab import guest_commands
from tests.lab.network import tap
from tests.lab.place import BAD_SECTOR, NETWORKS, GuestSpec

MEMORY_MB = {"head": 768, "storage": 384}
"""A head has a process for each volume."""
TRANSLATED_MB = 128
"""Room for translated code. QEMU's default is a gigabyte a guest."""
PROMPT = 240
"""Seconds in which a guest hears commands, however busy this machine is."""


class GuestFailed(Exception):
    """A guest ended, or did not come up."""


class Guest:
    """A machine of the lab: power, and commands. Its disks stay what they are without power."""

    def __init__(self, machine: GuestSpec, image: Path) -> None:
        self.machine = machine
        self.name = machine.name
        self._image = image
        self._process: subprocess.Popen[bytes] | None = None

    # -- power ------------------------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Switch it on; `wait` tells when it can be used."""
        if self.is_on:
            return
        log = self.machine.console.with_suffix(".qemu")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["nice", "-n", "5", *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us alone
            )

    def wait(self, seconds: float = PROMPT) -> None:
        """Wait until it takes commands; GuestFailed, with its last words, if it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.is_on:
            if guest_commands.wait(self.machine, 1):
                return
        why = f"took no command within {seconds:g} s" if self.is_on else "ended"
        raise GuestFailed(f"{self.name} {why}; its console said:\n{self.last_words()}")

    def kill(self) -> None:
        """Cut the power: what its kernel had not yet written is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)

    def reset(self) -> None:
        """Cut the power and switch it on again."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Let its time stand still; its peers see a machine that says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def set_hardware(self, name: str, what: str, value: int) -> None:
        """Change a device of a guest that runs, by QEMU's monitor; nobody in it is told."""
        about = {"path": f"/machine/peripheral/{name}", "property": what, "value": value}
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(20)
            monitor.connect(str(self.machine.hardware))
            with monitor.makefile("rw") as talk:
                talk.readline()  # a greeting
                for word, more in (("qmp_capabilities", {}), ("qom-set", about)):
                    talk.write(json.dumps({"execute": word, "arguments": more}) + "\n")
                    talk.flush()
                    told = json.loads(talk.readline())
                    assert "return" in told, told

    def last_words(self) -> str:
        """Tell the end of what its kernel and init said, or why QEMU did not start."""
        console = self.machine.console
        logs = (console.with_suffix(".qemu"), console)
        said = [log.read_text(errors="replace") for log in logs if log.exists()]
        return "\n".join("".join(said).splitlines()[-25:])

    # -- commands ---------------------------------------------------------------------------------

    def run(self, command: str, data: bytes = b"", timeout: float = 60) -> str:
        """Run a command that has to succeed, as root; what it says."""
        return guest_commands.run(self.machine, command, data, timeout)

    def attempt(self, command: str, timeout: float = 60) -> guest_commands.Result:
        """Run a command, whatever comes of it."""
        return guest_commands.attempt(self.machine, command, timeout=timeout)

    def begin(self, command: str, log: str) -> None:
        """Start a command that goes on by itself; what it says is in a file of the guest."""
        self.run(f"setsid -f bash -c '{command}' > {log} 2>&1 < /dev/null")

    def push(self, path: str, data: bytes) -> None:
        guest_commands.push(self.machine, path, data)

    def pull(self, path: str) -> bytes:
        return guest_commands.pull(self.machine, path)

    # -- the machine ------------------------------------------------------------------------------

    def _command(self) -> list[str]:
        machine = self.machine
        words = f"""
            qemu-system-x86_64 -name {machine.name} -machine pc,usb=off,hpet=off
            -accel tcg,thread=multi,tb-size={TRANSLATED_MB} -cpu Nehalem -smp 1
            -m {MEMORY_MB[machine.role]}
            -nodefaults -no-user-config -display none -no-reboot
            -chardev file,id=console,path={machine.console},append=on -serial chardev:console
            -kernel {self._image}/vmlinux -initrd {self._image}/initrd.cpio
            -device virtio-rng-pci
            -fsdev local,id=src,path={ROOT},security_model=none,readonly=on,multidevs=remap
            -device virtio-9p-pci,fsdev=src,mount_tag=src
        """.split()
        words += ["-append", _kernel_line(machine)]
        shared = "format=raw,readonly=on,file.locking=off"
        words += _disk("root", f"{self._image}/root.squashfs", shared)
        words += _disk("state", machine.state, "format=raw,cache=unsafe,discard=unmap")
        for number, path in enumerate(machine.disks, start=1):
            words += _disk(f"disk-{number}", path, "format=qcow2,cache=unsafe,discard=unmap")
        if machine.telling_disks:
            words += _telling(machine)
        for place, _ in enumerate(NETWORKS):
            words += _card(machine, place)
        return words


def _kernel_line(machine: GuestSpec) -> str:
    # A loaded machine measures its clock wrongly: then a guest's time runs several times too fast.
    clock = f"tsc_early_khz={_kilohertz()} tsc=reliable no_timer_check"
    quick = "quiet loglevel=5 nokaslr mitigations=off random.trust_cpu=on panic=-1"
    us = f"lab.name={machine.name} lab.number={machine.number} lab.role={machine.role}"
    return f"console=ttyS0 net.ifnames=0 {quick} {clock} {us}"


def _kilohertz() -> int:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("cpu MHz"):
            return int(float(line.partition(":")[2]) * 1000)
    raise GuestFailed("this machine does not tell how fast its clock is")


def _disk(name: str, path: Path | str, options: str) -> list[str]:
    drive = f"file={path},if=none,id={name},{options}"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive={name},serial={name}"]


def _telling(machine: GuestSpec) -> list[str]:
    """Two disks that have SMART; of the second one a sector cannot be read, and more can be set."""
    ata, nvme = machine.telling_disks.values()
    errors = {"event": "none", "iotype": "read", "errno": errno.EIO, "sector": BAD_SECTOR}
    bad = ",".join(f"inject-error.0.{key}={value}" for key, value in errors.items())
    return f"""
        -drive file={ata},if=none,id=ata,format=qcow2,cache=unsafe,discard=unmap,detect-zeroes=unmap
        -device ide-hd,drive=ata,serial=ata,bus=ide.0
        -blockdev driver=file,node-name=file,filename={nvme},cache.no-flush=on
        -blockdev driver=qcow2,node-name=image,file=file,discard=unmap
        -blockdev driver=blkdebug,node-name=nvme,image=image,{bad}
        -device nvme,drive=nvme,serial=nvme,id=nvme
        -qmp unix:{machine.hardware},server=on,wait=off
    """.split()


def _card(machine: GuestSpec, place: int) -> list[str]:
    mac = f"52:54:00:77:{place:02x}:{machine.number:02x}"
    cable = f"tap,id=net{place},ifname={tap(machine, place)},script=no,downscript=no"
    return ["-netdev", cable, "-device", f"virtio-net-pci,netdev=net{place},mac={mac},romfile="]

"""The SUPER extent of an open disk: reads and writes what agents.ondisk describes."""

import os
from collections.abc import Iterator

from agents import ondisk
from agents.node.storage.blocks import clear, data_segments, read_medium, write_all
from agents.ondisk import GB, Descriptor, Label
from agents.protocol import ReplicaMark


class SuperExtent:
    """The SUPER extent of an open disk."""

    def __init__(self, fd: int, capacity_gb: int) -> None:
        self._fd = fd
        self.capacity_gb = capacity_gb

    def read_label(self) -> Label | None:
        """Read the label; None when there is none, none that is whole, or that of another size.

        NewerLabel where it is not ours to understand. It is read from the medium: out of the
        kernel's memory it could be read for ever, also of a disk that is dead.
        """
        failure: OSError | None = None
        for offset in ondisk.label_offsets(self.capacity_gb):
            try:
                block = read_medium(self._fd, offset, ondisk.LABEL_BYTES)
            except OSError as error:
                failure = error
                continue
            label = ondisk.unpack_label(block)
            if label is not None and label.capacity_gb == self.capacity_gb:
                return label
        if failure is not None:
            raise failure
        return None

    @property
    def is_damaged(self) -> bool:
        """Tell whether a label was here once; of a disk whose label cannot be read.

        A power cut in the very first format leaves half a label, no second one, and nothing else.
        """
        first, second = (
            os.pread(self._fd, ondisk.LABEL_BYTES, offset)
            for offset in ondisk.label_offsets(self.capacity_gb)
        )
        begun = ondisk.is_of_a_label(first) and self.age(0, self.capacity_gb) > 0
        return begun or ondisk.is_of_a_label(second) or self._is_described

    @property
    def _is_described(self) -> bool:
        """Tell whether anything says of an extent what it holds."""
        blocks = range(self.capacity_gb - 1)
        return any(map(self.has_mark, blocks)) or any(map(self.read_descriptor, blocks))

    def write_label(self, label: Label) -> None:
        """Write the label, then write it once more."""
        block = ondisk.pack_label(label)
        for offset in ondisk.label_offsets(self.capacity_gb):
            write_all(self._fd, block, offset)
            os.fdatasync(self._fd)

    def format(self, label: Label) -> None:
        """Make the disk ours: no generations, no marks, then the label."""
        clear(self._fd, ondisk.super_offset(self.capacity_gb), GB)
        os.fdatasync(self._fd)
        self.write_label(label)

    @property
    def newest_generation(self) -> int:
        """Tell a generation that is as new as all that was ordered anywhere on the disk."""
        return ondisk.generation_of(self.age(0, self.capacity_gb))

    def age(self, offset_gb: int, size_gb: int) -> int:
        """Tell the newest age that any GB of a range has come to."""
        offset = ondisk.ages_offset(self.capacity_gb, offset_gb)
        return max(ondisk.unpack_ages(os.pread(self._fd, ondisk.AGE_BYTES * size_gb, offset)))

    def set_age(self, offset_gb: int, size_gb: int, age: int) -> None:
        """Let nothing older be ordered for these GB from now on; `flush` makes it last."""
        table = ondisk.pack_ages(age, size_gb)
        write_all(self._fd, table, ondisk.ages_offset(self.capacity_gb, offset_gb))

    def flush(self) -> None:
        """Bring all that was written to stable storage."""
        os.fdatasync(self._fd)

    def mark_offset(self, offset_gb: int) -> int:
        """Tell where on the disk the mark block of the extent that begins there lies."""
        return ondisk.mark_offset(self.capacity_gb, offset_gb)

    def read_mark(self, dextid: int, offset_gb: int) -> ReplicaMark:
        """Read what the last head wrote; zeros where none did.

        From the medium: a head of the kernel engine writes past this machine's memory.
        """
        block = read_medium(self._fd, self.mark_offset(offset_gb), ondisk.MARK_BYTES)
        return ReplicaMark(dextid, *ondisk.unpack_mark(block))

    def clear_marks(self, offset_gb: int, size_gb: int) -> None:
        """Zero the mark blocks of a range, durably."""
        clear(self._fd, self.mark_offset(offset_gb), size_gb * ondisk.MARK_BYTES)
        self.flush()

    def clear_descriptors(self, offset_gb: int, size_gb: int) -> None:
        """Zero the descriptors of a range; `flush` makes it last."""
        at = ondisk.descriptor_offset(self.capacity_gb, offset_gb)
        write_all(self._fd, bytes(size_gb * ondisk.DESCRIPTOR_BYTES), at)

    def has_mark(self, offset_gb: int) -> bool:
        """Tell whether a head ever wrote a mark there."""
        block = read_medium(self._fd, self.mark_offset(offset_gb), ondisk.MARK_BYTES)
        return ondisk.unpack_mark(block) != ondisk.Mark()

    def read_descriptor(self, offset_gb: int) -> Descriptor | None:
        """Read what the extent that begins there said it is a part of."""
        at = ondisk.descriptor_offset(self.capacity_gb, offset_gb)
        return ondisk.unpack_descriptor(os.pread(self._fd, ondisk.DESCRIPTOR_BYTES, at))

    def write_descriptor(self, offset_gb: int, descriptor: Descriptor) -> None:
        """Say what the extent that begins there is a part of; `flush` makes it last."""
        at = ondisk.descriptor_offset(self.capacity_gb, offset_gb)
        write_all(self._fd, ondisk.pack_descriptor(descriptor), at)

    def descriptors(self, first_gb: int, end_gb: int) -> Iterator[tuple[int, Descriptor]]:
        """Tell the descriptors of all extents that begin there, each with its offset."""
        start = ondisk.descriptor_offset(self.capacity_gb, first_gb)
        end = ondisk.descriptor_offset(self.capacity_gb, end_gb)
        for begin, stop in data_segments(self._fd, start, end):
            first = first_gb + (begin - start) // ondisk.DESCRIPTOR_BYTES
            last = first_gb - (start - stop) // ondisk.DESCRIPTOR_BYTES
            for offset_gb in range(first, last):
                descriptor = self.read_descriptor(offset_gb)
                if descriptor is not None:
                    yield offset_gb, descriptor

    def is_live(self, offset_gb: int, descriptor: Descriptor) -> bool:
        """Tell whether a descriptor's space was neither shredded nor used anew since."""
        return self.age(offset_gb, 1) == ondisk.age_of(descriptor.generation, shredded=False)

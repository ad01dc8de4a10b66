"""Takes GGUF files apart and writes them again: split into parts as llama.cpp's gguf-split does it, with other integers as metadata."""
import struct

ALIGNMENT = 32
STRING, ARRAY = 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of each value type but strings and arrays
U16, U32, I32 = 2, 4, 5


class GgufFile:
    """metadata: {key: value's type and bytes as stored}; tensors: [(name, table entry between name and offset, data)]."""

    def __init__(self, path):
        self._bytes = memoryview(path.read_bytes())
        assert bytes(self._bytes[:4]) == b"GGUF"
        self._at = 4
        self.version = self._number("I")
        tensor_count, metadata_count = self._number("Q"), self._number("Q")
        self.metadata = {self._string(): self._value() for _ in range(metadata_count)}
        table = [self._tensor() for _ in range(tensor_count)]
        start = -(-self._at // ALIGNMENT) * ALIGNMENT
        ends = sorted([offset for _, _, offset in table] + [len(self._bytes) - start])
        end_of = dict(zip(ends, ends[1:]))
        self.tensors = [(name, entry, self._bytes[start + offset : start + end_of[offset]]) for name, entry, offset in table]

    def _number(self, form):
        (number,) = struct.unpack_from("<" + form, self._bytes, self._at)
        self._at += struct.calcsize(form)
        return number

    def _string(self):
        size = self._number("Q")
        self._at += size
        return bytes(self._bytes[self._at - size : self._at]).decode()

    def _skip(self, kind):
        if kind == STRING:
            self._string()
        elif kind == ARRAY:
            element, count = self._number("I"), self._number("Q")
            if element == STRING:
                for _ in range(count):
                    self._string()
            else:
                self._at += count * SIZES[element]
        else:
            self._at += SIZES[kind]

    def _value(self):
        begin = self._at
        self._skip(self._number("I"))
        return bytes(self._bytes[begin : self._at])

    def _tensor(self):
        name, begin = self._string(), self._at
        dimensions = self._number("I")
        self._at += dimensions * 8 + 4
        return name, bytes(self._bytes[begin : self._at]), self._number("Q")

    def split(self, paths):
        """Writes a part at each path, tensors in turn."""
        for index, path in enumerate(paths):
            metadata = dict(self.metadata) if index == 0 else {}
            metadata["split.no"] = integer(index, U16)
            metadata["split.count"] = integer(len(paths), U16)
            metadata["split.tensors.count"] = integer(len(self.tensors), I32)
            write(path, self.version, metadata, self.tensors[index :: len(paths)])


def integer(value, kind=U32):
    return struct.pack("<I" + {U16: "H", U32: "I", I32: "i"}[kind], kind, value)


def write(path, version, metadata, tensors):
    def string(text):
        return struct.pack("<Q", len(text.encode())) + text.encode()

    def padding(size):
        return b"\0" * (-size % ALIGNMENT)

    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    head += b"".join(string(key) + value for key, value in metadata.items())
    offset = 0
    for name, entry, data in tensors:
        head += string(name) + entry + struct.pack("<Q", offset)
        offset += len(data) + len(padding(len(data)))
    with open(path, "wb") as file:
        file.write(head + padding(len(head)))
        for _, _, data in tensors:
            file.write(data)
            file.write(padding(len(data)))

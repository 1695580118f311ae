//! Bytes of a feed, unpacked and cut into lines, in bounded memory.

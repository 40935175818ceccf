//! CBOR by hand, so that it can be wrong in one place (RFC 8949 section 3).

/// The head of an item: its major type and its number, in the shortest form.
pub fn head(major: u8, number: u64) -> Vec<u8> {
    let first = major << 5;
    match number {
        0..24 => vec![first | number as u8],
        24..0x100 => vec![first | 24, number as u8],
        0x100..0x1_0000 => [&[first | 25][..], &(number as u16).to_be_bytes()].concat(),
        0x1_0000..0x1_0000_0000 => [&[first | 26][..], &(number as u32).to_be_bytes()].concat(),
        _ => [&[first | 27][..], &number.to_be_bytes()].concat(),
    }
}

pub fn uint(number: u64) -> Vec<u8> {
    head(0, number)
}

pub fn int(number: i64) -> Vec<u8> {
    match number {
        0.. => uint(number as u64),
        _ => head(1, !number as u64),
    }
}

pub fn bstr(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [head(2, bytes.len() as u64), bytes.to_vec()].concat()
}

pub fn tstr(text: &str) -> Vec<u8> {
    [head(3, text.len() as u64), text.as_bytes().to_vec()].concat()
}

/// An array of encoded items.
pub fn array<I: AsRef<[u8]>>(items: &[I]) -> Vec<u8> {
    let mut out = head(4, items.len() as u64);
    items.iter().for_each(|item| out.extend_from_slice(item.as_ref()));
    out
}

/// A map of encoded pairs, in the order given.
pub fn map(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = head(5, pairs.len() as u64);
    pairs.iter().for_each(|(key, value)| out.extend([&key[..], value].concat()));
    out
}

pub fn tag(number: u64, item: impl AsRef<[u8]>) -> Vec<u8> {
    [head(6, number), item.as_ref().to_vec()].concat()
}

pub const NULL: &[u8] = &[0xf6];

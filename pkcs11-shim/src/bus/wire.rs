//! How messages are written and read (D-Bus Specification, "Type System" and "Message Protocol").

use std::fmt;

use zeroize::Zeroize;

/// The deepest nesting that is read.
const DEPTH: usize = 16;

/// What a call may carry.
#[derive(Clone, Copy)]
pub(crate) enum Argument<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    U32(u32),
    /// `as`.
    Texts(&'a [&'a str]),
    /// `a{sv}`.
    Options(&'a [(&'a str, Argument<'a>)]),
    /// `v`.
    Variant(&'a Argument<'a>),
}

/// What an answer may carry. Variants stand as what is in them, structs as lists, numbers of all
/// widths as one; bytes are wiped.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Number(u64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> &[Value] {
        match self {
            Self::List(values) => values,
            _ => &[],
        }
    }

    pub(crate) fn map(&self) -> &[(Value, Value)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    /// What a map has under a text.
    pub(crate) fn at(&self, key: &str) -> Option<&Value> {
        self.map().iter().find(|(k, _)| k.text() == Some(key)).map(|(_, value)| value)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        if let Self::Bytes(bytes) = self {
            bytes.zeroize();
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => write!(f, "[{} bytes]", bytes.len()),
            Self::List(values) => f.debug_list().entries(values).finish(),
            Self::Map(entries) => {
                f.debug_map().entries(entries.iter().map(|(k, v)| (k, v))).finish()
            }
        }
    }
}

impl Argument<'_> {
    pub(super) fn signature(&self) -> &'static str {
        match self {
            Self::Text(_) => "s",
            Self::Bytes(_) => "ay",
            Self::U32(_) => "u",
            Self::Texts(_) => "as",
            Self::Options(_) => "a{sv}",
            Self::Variant(_) => "v",
        }
    }
}

/// Little-endian bytes in the making.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn pad(&mut self, alignment: usize) {
        self.0.resize(self.0.len().next_multiple_of(alignment), 0);
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.pad(4);
        self.0.extend(number.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    pub(super) fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// An array whose length is known when its content has been written.
    pub(super) fn array(&mut self, alignment: usize, content: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length_at = self.0.len() - 4;
        self.pad(alignment);
        let start = self.0.len();
        content(self);
        let length = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(length_at..length_at + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }

    pub(super) fn argument(&mut self, argument: &Argument<'_>) {
        match argument {
            Argument::Text(text) => self.text(text),
            Argument::U32(number) => self.u32(*number),
            Argument::Bytes(bytes) => {
                self.length(bytes.len());
                self.0.extend(*bytes);
            }
            Argument::Texts(texts) => {
                self.array(4, |w| texts.iter().for_each(|text| w.text(text)));
            }
            Argument::Options(options) => self.array(8, |w| {
                for (name, value) in *options {
                    w.pad(8);
                    w.text(name);
                    w.argument(&Argument::Variant(value));
                }
            }),
            Argument::Variant(value) => {
                self.signature(value.signature());
                self.argument(value);
            }
        }
    }

    fn length(&mut self, length: usize) {
        // A message that long is refused before it is sent.
        self.u32(u32::try_from(length).unwrap_or(u32::MAX));
    }
}

/// Bytes being read.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    is_big_endian: bool,
}

impl<'a> Reader<'a> {
    /// `bytes` begin where the message, or its body, does.
    pub(super) fn new(bytes: &'a [u8], is_big_endian: bool) -> Self {
        Self { bytes, at: 0, is_big_endian }
    }

    /// All values of a signature. `None`: the bytes are no such values, or more than them.
    pub(super) fn all(mut self, signature: &str) -> Option<Vec<Value>> {
        let mut rest = signature.as_bytes();
        let mut values = Vec::new();
        while !rest.is_empty() {
            let (one, others) = first_type(rest, DEPTH)?;
            values.push(self.value(one, DEPTH)?);
            rest = others;
        }
        (self.at == self.bytes.len()).then_some(values)
    }

    /// One value of a complete type.
    pub(super) fn value(&mut self, signature: &[u8], depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        Some(match signature {
            b"y" => Value::Number(self.take(1)?.first().copied()?.into()),
            b"n" | b"q" => Value::Number(self.number(2)?),
            b"b" | b"i" | b"u" | b"h" => Value::Number(self.number(4)?),
            b"x" | b"t" | b"d" => Value::Number(self.number(8)?),
            b"s" | b"o" => {
                let length = self.number(4)?;
                Value::Text(self.text(length)?)
            }
            b"g" => {
                let length = self.number(1)?;
                Value::Text(self.text(length)?)
            }
            b"v" => {
                let length = self.number(1)?;
                let inner = self.text(length)?;
                match first_type(inner.as_bytes(), DEPTH)? {
                    (one, []) => self.value(one, depth)?,
                    _ => return None,
                }
            }
            [b'(', fields @ .., b')'] => {
                self.pad(8)?;
                Value::List(self.fields(fields, depth)?)
            }
            [b'a', element @ ..] => self.array(element, depth)?,
            _ => return None,
        })
    }

    fn array(&mut self, element: &[u8], depth: usize) -> Option<Value> {
        let length = usize::try_from(self.number(4)?).ok()?;
        self.pad(alignment(*element.first()?))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        if element == b"y" {
            return Some(Value::Bytes(self.take(length)?.to_vec()));
        }
        let mut values = Vec::new();
        let mut entries = Vec::new();
        while self.at < end {
            match element {
                [b'{', entry @ .., b'}'] => {
                    self.pad(8)?;
                    let mut fields = self.fields(entry, depth)?.into_iter();
                    entries.push((fields.next()?, fields.next()?));
                }
                _ => values.push(self.value(element, depth)?),
            }
        }
        let value = match element.first() {
            Some(b'{') => Value::Map(entries),
            _ => Value::List(values),
        };
        (self.at == end).then_some(value)
    }

    fn fields(&mut self, mut signature: &[u8], depth: usize) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        while !signature.is_empty() {
            let (one, others) = first_type(signature, DEPTH)?;
            values.push(self.value(one, depth)?);
            signature = others;
        }
        Some(values)
    }

    /// An unsigned number of this width, after its padding.
    pub(super) fn number(&mut self, width: usize) -> Option<u64> {
        self.pad(width)?;
        let bytes = self.take(width)?.iter();
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(match self.is_big_endian {
            true => bytes.fold(0, join),
            false => bytes.rev().fold(0, join),
        })
    }

    fn text(&mut self, length: u64) -> Option<String> {
        let text = self.take(usize::try_from(length).ok()?)?;
        self.take(1)?;
        String::from_utf8(text.to_vec()).ok()
    }

    fn pad(&mut self, alignment: usize) -> Option<()> {
        self.take(self.at.next_multiple_of(alignment) - self.at).map(drop)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }
}

fn alignment(code: u8) -> usize {
    match code {
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 4,
    }
}

/// The first complete type of a signature, and what follows.
fn first_type(signature: &[u8], depth: usize) -> Option<(&[u8], &[u8])> {
    let depth = depth.checked_sub(1)?;
    let length = match signature.first()? {
        b'a' => 1 + first_type(signature.get(1..)?, depth)?.0.len(),
        open @ (b'(' | b'{') => {
            let close = if *open == b'(' { b')' } else { b'}' };
            let mut at = 1;
            while *signature.get(at)? != close {
                at += first_type(signature.get(at..)?, depth)?.0.len();
            }
            // What has no fields would be read for ever.
            (at > 1).then_some(at + 1)?
        }
        _ => 1,
    };
    signature.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(arguments: &[Argument<'_>]) -> (String, Vec<u8>) {
        let mut writer = Writer::default();
        arguments.iter().for_each(|argument| writer.argument(argument));
        (arguments.iter().map(Argument::signature).collect(), writer.0)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn what_is_written_is_read() {
        let inner = Argument::Bytes(&[7, 8, 9]);
        let options = [("id", inner), ("to", Argument::U32(5))];
        let (signature, bytes) = written(&[
            Argument::Text("till"),
            inner,
            Argument::Options(&options),
            Argument::Variant(&Argument::Texts(&["a", "bc"])),
            Argument::Options(&[]),
        ]);
        assert_eq!(signature, "saya{sv}va{sv}");
        let values = Reader::new(&bytes, false).all(&signature).unwrap();
        assert_eq!(values[0], text("till"));
        assert_eq!(values[2].at("id"), Some(&values[1]));
        assert_eq!(values[2].at("to"), Some(&Value::Number(5)));
        assert_eq!(values[3], Value::List(vec![text("a"), text("bc")]));
        assert_eq!(values[4], Value::Map(vec![]));
        // Cut anywhere it is nothing, and so it is with something after it.
        for end in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..end], false).all(&signature), None, "{end}");
        }
        let longer = [bytes, vec![0]].concat();
        assert_eq!(Reader::new(&longer, false).all(&signature), None);
    }

    #[test]
    fn big_endian_is_read_too() {
        let bytes = [0, 0, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        let values = Reader::new(&bytes, true).all("s(t)").unwrap();
        assert_eq!(values, [text("a"), Value::List(vec![Value::Number(9)])]);
    }

    #[test]
    fn nonsense_is_refused() {
        for signature in
            ["(", "a", "a{s", "v(", "z", "()y)", "a()", "a{}", &"a".repeat(300), &"(".repeat(300)]
        {
            assert_eq!(Reader::new(&[0; 64], false).all(signature), None, "{signature}");
        }
        // A variant in a variant in a variant and so on, and an array longer than the message.
        let nested = b"\x01v\0".repeat(100);
        assert_eq!(Reader::new(&nested, false).all("v"), None);
        assert_eq!(Reader::new(&[255; 64], false).all("ay"), None);
        assert_eq!(Reader::new(&[255; 64], false).all("a{sv}"), None);
    }
}

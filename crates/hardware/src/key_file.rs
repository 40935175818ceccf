//! TPM 2.0 key files, `TSS2 PRIVATE KEY` (J. Bottomley, *ASN.1 Specification for TPM 2.0 Key
//! Files*): how TPM software passes keys on that only one chip can load.
//!
//! Written and read here are loadable keys below the owner hierarchy, without policies: the ones
//! that whoever has the file can use with this chip, or with a password besides.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use twinseal_scheme::tpm::Public;

use crate::application::TpmApplicationKey;
use crate::error::Error;

/// What a key file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// TPMT_PUBLIC.
    pub(crate) public: Vec<u8>,
    /// Contents of the TPM2B_PRIVATE: encrypted by the parent.
    pub(crate) private: Vec<u8>,
}

/// Longer than the file of any key.
const LEN_MAX: usize = 8192;
const BEGIN: &str = "-----BEGIN TSS2 PRIVATE KEY-----";
const END: &str = "-----END TSS2 PRIVATE KEY-----";
/// The object identifier 2.23.133.10.1.3, a loadable key.
const LOADABLE: [u8; 6] = [0x67, 0x81, 0x05, 0x0a, 0x01, 0x03];
/// TPM_RH_OWNER: below the primary key of [`TpmApplicationKey`]'s parent.
const OWNER: [u8; 4] = [0x40, 0x00, 0x00, 0x01];

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const EMPTY_AUTH: u8 = 0xa0;
const POLICY: u8 = 0xa1;
const SECRET: u8 = 0xa2;
const AUTH_POLICY: u8 = 0xa3;
const DESCRIPTION: u8 = 0xa4;
const RSA_PARENT: u8 = 0xa5;

const BROKEN: Error = Error::Misuse("this is no TPM 2.0 key file (TSS2 PRIVATE KEY)");

impl KeyFile {
    /// The file of a key.
    pub fn of(key: &TpmApplicationKey) -> Self {
        Self { public: key.public().to_vec(), private: key.child.private.clone() }
    }

    /// Reads a file, PEM or DER.
    ///
    /// # Errors
    /// [`Error::Misuse`], which says what is wrong with it or not taken: other than loadable keys
    /// below the owner hierarchy, policies, RSA parents; keys that are restricted, that need a
    /// policy, that go at a restart, or whose wrong passwords the chip counts; and everything
    /// but RSA-2048, RSA-3072, P-256 and P-384.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > LEN_MAX {
            return Err(BROKEN);
        }
        let der = match std::str::from_utf8(bytes).ok().and_then(|text| text.split_once(BEGIN)) {
            Some((_, rest)) => {
                let (body, _) = rest.split_once(END).ok_or(BROKEN)?;
                let body: String = body.split_ascii_whitespace().collect();
                STANDARD.decode(body).map_err(|_| BROKEN)?
            }
            None => bytes.to_vec(),
        };
        let mut file = Der(&der);
        let mut fields = Der(file.take(SEQUENCE)?);
        file.end()?;
        let read = Self::read(&mut fields)?;
        fields.end()?;
        read.check()?;
        Ok(read)
    }

    /// The file in PEM.
    pub fn to_pem(&self) -> String {
        let fields = [
            element(OBJECT_IDENTIFIER, &LOADABLE),
            element(EMPTY_AUTH, &element(BOOLEAN, &[0xff])),
            element(INTEGER, &OWNER),
            element(OCTET_STRING, &sized(&self.public)),
            element(OCTET_STRING, &sized(&self.private)),
        ];
        let text = STANDARD.encode(element(SEQUENCE, &fields.concat()));
        let mut pem = format!("{BEGIN}\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, tail) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = tail;
        }
        pem + END + "\n"
    }

    fn read(fields: &mut Der<'_>) -> Result<Self, Error> {
        if fields.take(OBJECT_IDENTIFIER)? != LOADABLE {
            return Err(Error::Misuse("the key file holds another thing than a loadable key"));
        }
        // Whether it says that there is a password is not believed: the chip knows.
        fields.take_if(EMPTY_AUTH)?;
        for policy in [POLICY, SECRET, AUTH_POLICY] {
            if fields.take_if(policy)?.is_some() {
                return Err(Error::Misuse("the key file's key is used by a policy, or imported"));
            }
        }
        fields.take_if(DESCRIPTION)?;
        if fields.take_if(RSA_PARENT)?.is_some_and(|flag| flag.last() != Some(&0)) {
            return Err(Error::Misuse("the key file's key has an RSA parent"));
        }
        if fields.take(INTEGER)? != OWNER {
            return Err(Error::Misuse(
                "the key file's key has another parent than the owner hierarchy (0x40000001)",
            ));
        }
        Ok(Self {
            public: contents_of(fields.take(OCTET_STRING)?)?.to_vec(),
            private: contents_of(fields.take(OCTET_STRING)?)?.to_vec(),
        })
    }

    /// Whether it is a key to work with as with those that are made here.
    fn check(&self) -> Result<(), Error> {
        // TPMA_OBJECT, Part 2, section 8.3.
        const ST_CLEAR: u32 = 1 << 2;
        const USER_WITH_AUTH: u32 = 1 << 6;
        const ADMIN_WITH_POLICY: u32 = 1 << 7;
        const NO_DA: u32 = 1 << 10;
        const RESTRICTED: u32 = 1 << 16;
        const DECRYPT_OR_SIGN: u32 = 1 << 17 | 1 << 18;
        Public::parse(&self.public).map_err(|_| {
            Error::Misuse("the key file's key is neither RSA nor on P-256 or P-384, or damaged")
        })?;
        let attributes = self.public.get(4..8).and_then(|bytes| bytes.try_into().ok());
        let attributes = u32::from_be_bytes(attributes.ok_or(BROKEN)?);
        let has = |bits: u32| attributes & bits != 0;
        match () {
            () if has(RESTRICTED) || !has(DECRYPT_OR_SIGN) => {
                Err(Error::Misuse("the key file's key is for a TPM's own use (restricted)"))
            }
            () if !has(USER_WITH_AUTH) || has(ADMIN_WITH_POLICY) => {
                Err(Error::Misuse("the key file's key is used by a policy, or imported"))
            }
            () if has(ST_CLEAR) => Err(Error::Misuse("the key file's key goes at each restart")),
            () if !has(NO_DA) => Err(Error::Misuse(
                "the key file's key is without noDA, so that wrong passwords for it, and power cuts, would lock the chip for others",
            )),
            () => Ok(()),
        }
    }
}

/// What is left of a DER encoding (ITU-T X.690).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next element, which must have this tag.
    fn take(&mut self, tag: u8) -> Result<&'a [u8], Error> {
        self.take_if(tag)?.ok_or(BROKEN)
    }

    /// The same, if it has this tag.
    fn take_if(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Error> {
        let (found, first, rest) = match self.0 {
            [found, first, rest @ ..] => (*found, *first, rest),
            _ => return Ok(None),
        };
        if found != tag {
            return Ok(None);
        }
        let (len, rest) = match (first, rest) {
            (0..=0x7f, rest) => (usize::from(first), rest),
            (0x81, [len, rest @ ..]) if *len >= 0x80 => (usize::from(*len), rest),
            (0x82, [high, low, rest @ ..]) if *high > 0 => {
                (usize::from(u16::from_be_bytes([*high, *low])), rest)
            }
            _ => return Err(BROKEN),
        };
        let (contents, rest) = rest.split_at_checked(len).ok_or(BROKEN)?;
        self.0 = rest;
        Ok(Some(contents))
    }

    fn end(&self) -> Result<(), Error> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(BROKEN),
        }
    }
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    // Below LEN_MAX, so two bytes count it.
    let [high, low] = u16::try_from(contents.len()).unwrap_or(u16::MAX).to_be_bytes();
    let len = match (high, low) {
        (0, 0..=0x7f) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], &len[..], contents].concat()
}

/// A TPM2B.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()[..], bytes].concat()
}

/// What a TPM2B holds.
fn contents_of(bytes: &[u8]) -> Result<&[u8], Error> {
    let (len, contents) = bytes.split_first_chunk::<2>().ok_or(BROKEN)?;
    match usize::from(u16::from_be_bytes(*len)) == contents.len() {
        true => Ok(contents),
        false => Err(BROKEN),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    /// TPMT_PUBLIC of P-256's generator: sign, fixedTPM, fixedParent, sensitiveDataOrigin,
    /// userWithAuth, noDA; schemes null.
    fn area(attributes: u32) -> Vec<u8> {
        const X: &str = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
        const Y: &str = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
        let hex = |text: &str| -> Vec<u8> {
            let pair = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            (0..text.len()).step_by(2).map(pair).collect()
        };
        let head = [&[0, 0x23, 0, 0x0b][..], &attributes.to_be_bytes(), &[0, 0]].concat();
        let schemes = [0, 0x10, 0, 0x10, 0, 3, 0, 0x10];
        [&head[..], &schemes, &sized(&hex(X)), &sized(&hex(Y))].concat()
    }

    const GOOD: u32 = 0x0004_0472;

    fn file(attributes: u32) -> KeyFile {
        KeyFile { public: area(attributes), private: vec![7; 126] }
    }

    #[test]
    fn a_file_comes_back_from_pem_and_from_der() {
        let pem = file(GOOD).to_pem();
        assert!(pem.lines().all(|line| line.len() <= 64));
        assert_eq!(KeyFile::parse(pem.as_bytes()), Ok(file(GOOD)));
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(body).unwrap();
        assert_eq!(KeyFile::parse(&der), Ok(file(GOOD)));
        for len in 0..der.len() {
            assert_eq!(KeyFile::parse(&der[..len]), Err(BROKEN), "{len} bytes");
        }
        assert_eq!(KeyFile::parse(&[&der[..], &[0]].concat()), Err(BROKEN));
    }

    #[test]
    fn keys_that_would_be_something_else_are_refused() {
        let refused = |attributes: u32| match KeyFile::parse(file(attributes).to_pem().as_bytes()) {
            Err(Error::Misuse(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(refused(GOOD | 1 << 16).contains("restricted"));
        assert!(refused(GOOD & !(1 << 18)).contains("restricted"));
        assert!(refused(GOOD & !(1 << 6)).contains("policy"));
        assert!(refused(GOOD | 1 << 7).contains("policy"));
        assert!(refused(GOOD | 1 << 2).contains("restart"));
        assert!(refused(GOOD & !(1 << 10)).contains("noDA"));
    }

    fn with(fields: &[Vec<u8>]) -> Result<KeyFile, Error> {
        KeyFile::parse(&element(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn other_kinds_of_files_are_refused() {
        let (good, [public, private]) = (
            file(GOOD),
            [area(GOOD), vec![7; 126]].map(|part| element(OCTET_STRING, &sized(&part))),
        );
        let kind = element(OBJECT_IDENTIFIER, &LOADABLE);
        let owner = element(INTEGER, &OWNER);
        let fields = |extra: &[u8]| {
            with(&[kind.clone(), extra.to_vec(), owner.clone(), public.clone(), private.clone()])
        };
        assert_eq!(fields(&[]), Ok(good.clone()));
        assert_eq!(fields(&element(DESCRIPTION, &element(0x0c, b"mine"))), Ok(good.clone()));
        assert_eq!(fields(&element(RSA_PARENT, &element(BOOLEAN, &[0]))), Ok(good));
        for extra in [
            element(RSA_PARENT, &element(BOOLEAN, &[0xff])),
            element(POLICY, &[]),
            element(SECRET, &[]),
            element(AUTH_POLICY, &[]),
            element(0xa6, &[]),
        ] {
            assert!(fields(&extra).is_err(), "{extra:x?}");
        }
        let sealed = element(OBJECT_IDENTIFIER, &[0x67, 0x81, 0x05, 0x0a, 0x01, 0x05]);
        let persistent = element(INTEGER, &[0x00, 0x81, 0x00, 0x00, 0x01]);
        assert!(with(&[sealed, owner, public.clone(), private.clone()]).is_err());
        assert!(with(&[kind, persistent, public, private]).is_err());
    }
}

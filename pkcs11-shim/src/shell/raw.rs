//! The caller's memory: the only place where pointers are followed.

use std::mem::size_of;
use std::ptr::NonNull;
use std::slice;

use cryptoki_sys::*;

use crate::mechanism::{Mechanism, Parameter};
use crate::module::{Output, Room};
use crate::object::Attribute;
use crate::rv::{Result, Rv, fail};
use crate::template::Template;

/// No buffer is longer: what is said to be is a mistake.
const BUFFER_BYTES: usize = 1 << 30;
/// No template is longer.
const ATTRIBUTES: usize = 1 << 10;

/// A place that the caller has for one value.
pub(super) struct Place<T>(NonNull<T>);

impl<T> Place<T> {
    /// The caller's place; it is not written to yet.
    pub(super) fn at(place: *mut T) -> Result<Self> {
        NonNull::new(place).map(Self).ok_or(Rv(CKR_ARGUMENTS_BAD))
    }

    /// # Safety
    /// A value can be written there.
    pub(super) unsafe fn put(&self, value: T) {
        // SAFETY: the caller's word. It may not be aligned.
        unsafe { self.0.as_ptr().write_unaligned(value) }
    }
}

/// The caller's bytes.
///
/// # Safety
/// `at` is null, or so many bytes can be read there for `'a`.
pub(super) unsafe fn bytes<'a>(at: *const u8, length: CK_ULONG) -> Result<&'a [u8]> {
    let length = checked(length, BUFFER_BYTES)?;
    match (at.is_null(), length) {
        (_, 0) => Ok(&[]),
        (true, _) => fail(CKR_ARGUMENTS_BAD),
        // SAFETY: the caller's word.
        (false, _) => Ok(unsafe { slice::from_raw_parts(at, length) }),
    }
}

/// The caller's place for bytes, whose length he has written beside it.
pub(super) struct Buffer {
    at: *mut u8,
    length: Place<CK_ULONG>,
    pub(super) room: Room,
}

impl Buffer {
    /// # Safety
    /// Each is null, or `length` can be read, and so many bytes be written at `at`.
    pub(super) unsafe fn new(at: *mut u8, length: *mut CK_ULONG) -> Result<Self> {
        let place = Place::at(length)?;
        let room = match at.is_null() {
            true => Room::Question,
            // SAFETY: the caller's word. More than there can be is as good as that.
            false => {
                let length = unsafe { length.read_unaligned() };
                Room::Bytes(usize::try_from(length).unwrap_or(usize::MAX))
            }
        };
        Ok(Self { at, length: place, room })
    }

    /// # Safety
    /// As of [`Buffer::new`].
    pub(super) unsafe fn put(&self, output: Output) -> Result<()> {
        let (length, result) = match &output {
            Output::Length(length) => (*length, Ok(())),
            Output::TooSmall(length) => (*length, fail(CKR_BUFFER_TOO_SMALL)),
            Output::Bytes(bytes) => {
                // SAFETY: what answers has looked at the room; `refuses` is checked again here
                // because memory depends on it.
                match self.room.refuses(bytes.len()) {
                    None => unsafe { self.at.copy_from(bytes.as_ptr(), bytes.len()) },
                    Some(_) => return fail(CKR_GENERAL_ERROR),
                }
                (bytes.len(), Ok(()))
            }
        };
        // SAFETY: as of `new`.
        unsafe { self.length.put(CK_ULONG::try_from(length).unwrap_or(CK_ULONG::MAX)) };
        result
    }
}

/// A list for the caller, by the rules for buffers.
///
/// # Safety
/// Each is null, or `count` can be read, and so many items be written at `at`.
pub(super) unsafe fn put_list<T: Copy>(
    items: &[T],
    at: *mut T,
    count: *mut CK_ULONG,
) -> Result<()> {
    let place = Place::at(count)?;
    // SAFETY: the caller's word.
    let room = unsafe { count.read_unaligned() };
    let length = CK_ULONG::try_from(items.len()).or(fail(CKR_GENERAL_ERROR))?;
    // SAFETY: as above.
    unsafe { place.put(length) };
    match at.is_null() {
        true => Ok(()),
        false if room < length => fail(CKR_BUFFER_TOO_SMALL),
        // SAFETY: there is room, by the caller's word.
        false => {
            let to = at.cast::<u8>();
            unsafe { to.copy_from(items.as_ptr().cast(), size_of_val(items)) };
            Ok(())
        }
    }
}

/// A template with its values.
///
/// # Safety
/// `at` is null, or so many attributes stand there for `'a`, each with its value.
pub(super) unsafe fn template<'a>(
    at: *const CK_ATTRIBUTE,
    count: CK_ULONG,
) -> Result<Template<'a>> {
    let mut values = Vec::new();
    for index in 0..attribute_count(at, count)? {
        // SAFETY: the caller's word.
        let attribute = unsafe { at.add(index).read_unaligned() };
        let value = unsafe { bytes(attribute.pValue.cast(), attribute.ulValueLen) };
        values.push((attribute.type_, value.or(fail(CKR_ATTRIBUTE_VALUE_INVALID))?));
    }
    Ok(Template(values))
}

/// Of which attributes the caller wants the values.
///
/// # Safety
/// `at` is null, or so many attributes stand there.
pub(super) unsafe fn wanted(
    at: *const CK_ATTRIBUTE,
    count: CK_ULONG,
) -> Result<Vec<CK_ATTRIBUTE_TYPE>> {
    // SAFETY: the caller's word.
    let kind = |index| unsafe { at.add(index).read_unaligned() }.type_;
    Ok((0..attribute_count(at, count)?).map(kind).collect())
}

/// Values for what [`wanted`] has read (PKCS #11 base 2.40, C_GetAttributeValue): each that can
/// be given is, whatever becomes of the others.
///
/// # Safety
/// As many attributes as values stand at `at`, each with room as it says.
pub(super) unsafe fn put_attributes(at: *mut CK_ATTRIBUTE, values: &[Attribute]) -> Result<()> {
    let mut result = Ok(());
    for (index, value) in values.iter().enumerate() {
        // SAFETY: the caller's word.
        let place = unsafe { at.add(index) };
        let mut attribute = unsafe { place.read_unaligned() };
        let room = usize::try_from(attribute.ulValueLen).unwrap_or(usize::MAX);
        let length = match value {
            Attribute::Value(value) if attribute.pValue.is_null() => Ok(value.len()),
            Attribute::Value(value) if value.len() <= room => {
                // SAFETY: there is room, by the caller's word.
                unsafe { attribute.pValue.cast::<u8>().copy_from(value.as_ptr(), value.len()) };
                Ok(value.len())
            }
            Attribute::Value(_) => fail(CKR_BUFFER_TOO_SMALL),
            Attribute::Sensitive => fail(CKR_ATTRIBUTE_SENSITIVE),
            Attribute::None => fail(CKR_ATTRIBUTE_TYPE_INVALID),
        };
        let length = length.map(|length| CK_ULONG::try_from(length).unwrap_or(CK_ULONG::MAX));
        attribute.ulValueLen = length.unwrap_or(CK_UNAVAILABLE_INFORMATION);
        // SAFETY: as above.
        unsafe { place.write_unaligned(attribute) };
        result = result.and(length.map(drop));
    }
    result
}

/// A mechanism with its parameter; `None` for a null pointer, which ends what is under way.
///
/// # Safety
/// `at` is null, or a mechanism stands there for `'a`, with its parameter.
pub(super) unsafe fn mechanism<'a>(at: *const CK_MECHANISM) -> Result<Option<Mechanism<'a>>> {
    if at.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's word, here and below.
    let given = unsafe { at.read_unaligned() };
    let parameter = unsafe { bytes(given.pParameter.cast(), given.ulParameterLen) };
    let parameter = parameter.or(fail(CKR_MECHANISM_PARAM_INVALID))?;
    let invalid = |_: Rv| Rv(CKR_MECHANISM_PARAM_INVALID);
    let parameter = match given.mechanism {
        _ if parameter.is_empty() => Parameter::None,
        CKM_RSA_PKCS_PSS
        | CKM_SHA256_RSA_PKCS_PSS
        | CKM_SHA384_RSA_PKCS_PSS
        | CKM_SHA512_RSA_PKCS_PSS => match unsafe { read(parameter) } {
            Some(parameter) => Parameter::Pss(parameter),
            None => Parameter::Other,
        },
        CKM_RSA_PKCS_OAEP => match unsafe { read::<CK_RSA_PKCS_OAEP_PARAMS>(parameter) } {
            Some(CK_RSA_PKCS_OAEP_PARAMS {
                hashAlg,
                mgf,
                source,
                pSourceData,
                ulSourceDataLen,
            }) => {
                let label = unsafe { bytes(pSourceData.cast(), ulSourceDataLen) };
                match (label.map_err(invalid)?, source) {
                    ([], 0 | CKZ_DATA_SPECIFIED) => {
                        Parameter::Oaep { hash: hashAlg, mgf, label: &[] }
                    }
                    (label, CKZ_DATA_SPECIFIED) => Parameter::Oaep { hash: hashAlg, mgf, label },
                    _ => Parameter::Other,
                }
            }
            None => Parameter::Other,
        },
        CKM_ECDH1_DERIVE => match unsafe { read::<CK_ECDH1_DERIVE_PARAMS>(parameter) } {
            Some(given) => {
                let shared = unsafe { bytes(given.pSharedData, given.ulSharedDataLen) };
                let public = unsafe { bytes(given.pPublicData, given.ulPublicDataLen) };
                let (shared, public) = (shared.map_err(invalid)?, public.map_err(invalid)?);
                Parameter::Ecdh { kdf: given.kdf, shared, public }
            }
            None => Parameter::Other,
        },
        _ => Parameter::Other,
    };
    Ok(Some(Mechanism { kind: given.mechanism, parameter }))
}

/// A value out of exactly its bytes.
///
/// # Safety
/// Any bytes are a `T`.
unsafe fn read<T: Copy>(bytes: &[u8]) -> Option<T> {
    // SAFETY: as many bytes as it has, and any will do.
    let value = || unsafe { bytes.as_ptr().cast::<T>().read_unaligned() };
    (bytes.len() == size_of::<T>()).then(value)
}

fn attribute_count(at: *const CK_ATTRIBUTE, count: CK_ULONG) -> Result<usize> {
    match (at.is_null(), checked(count, ATTRIBUTES)?) {
        (true, 1..) => fail(CKR_ARGUMENTS_BAD),
        (_, count) => Ok(count),
    }
}

fn checked(number: CK_ULONG, most: usize) -> Result<usize> {
    let number = usize::try_from(number).ok().filter(|number| *number <= most);
    number.ok_or(Rv(CKR_ARGUMENTS_BAD))
}

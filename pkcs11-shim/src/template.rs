//! Attribute templates as callers give them.

use cryptoki_sys::*;

use crate::rv::{Result, fail};

/// Attributes with their values, in the order given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Template<'a>(pub(crate) Vec<(CK_ATTRIBUTE_TYPE, &'a [u8])>);

impl<'a> Template<'a> {
    /// The value of an attribute. Of two that name the same one the first counts.
    pub(crate) fn bytes(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<&'a [u8]> {
        self.0.iter().find(|(other, _)| *other == kind).map(|(_, value)| *value)
    }

    /// The value of an attribute that is a `CK_BBOOL`.
    pub(crate) fn flag(&self, kind: CK_ATTRIBUTE_TYPE) -> Result<Option<bool>> {
        match self.bytes(kind) {
            None => Ok(None),
            Some([flag]) => Ok(Some(*flag != CK_FALSE)),
            Some(_) => fail(CKR_ATTRIBUTE_VALUE_INVALID),
        }
    }

    /// The value of an attribute that is a `CK_ULONG`.
    pub(crate) fn number(&self, kind: CK_ATTRIBUTE_TYPE) -> Result<Option<CK_ULONG>> {
        match self.bytes(kind) {
            None => Ok(None),
            Some(value) => match value.try_into() {
                Ok(bytes) => Ok(Some(CK_ULONG::from_ne_bytes(bytes))),
                Err(_) => fail(CKR_ATTRIBUTE_VALUE_INVALID),
            },
        }
    }

    /// The value of an attribute that is text.
    pub(crate) fn text(&self, kind: CK_ATTRIBUTE_TYPE) -> Result<Option<&'a str>> {
        match self.bytes(kind).map(std::str::from_utf8) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => fail(CKR_ATTRIBUTE_VALUE_INVALID),
        }
    }

    /// Refuses a template in which this attribute is anything but `wanted`, where it is at all.
    pub(crate) fn allows(&self, kind: CK_ATTRIBUTE_TYPE, wanted: bool) -> Result<()> {
        match self.flag(kind)? {
            Some(flag) if flag != wanted => fail(CKR_TEMPLATE_INCONSISTENT),
            _ => Ok(()),
        }
    }
}

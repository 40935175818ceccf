//! The function lists by which programs find everything else (PKCS #11 base 3.0, section 5.4).

use std::ffi::CStr;

use cryptoki_sys::*;

use super::crypto::*;
use super::entries;
use super::general::*;
use super::raw::{Place, put_list};
use super::unsupported::*;
use crate::rv::fail;

pub(super) const VERSION_2_40: CK_VERSION = CK_VERSION { major: 2, minor: 40 };
pub(super) const VERSION_3_0: CK_VERSION = CK_VERSION { major: 3, minor: 0 };
const NAME: &CStr = c"PKCS 11";

/// A function list: its version, the C_GetInfo that says it, all functions of 2.40, and more.
macro_rules! list {
    ($list:ident, $version:expr, $info:expr, [$($more:ident)*], $($name:ident)*) => {
        $list {
            version: $version,
            C_GetInfo: Some($info),
            $($name: Some($name),)*
            $($more: Some($more),)*
        }
    };
}

/// As [`list`], with the functions of 2.40 filled in.
macro_rules! list_with {
    ($list:ident, $version:expr, $info:expr, [$($more:ident)*]) => {
        list! { $list, $version, $info, [$($more)*],
            C_Initialize C_Finalize C_GetFunctionList C_GetSlotList C_GetSlotInfo C_GetTokenInfo
            C_GetMechanismList C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN C_OpenSession
            C_CloseSession C_CloseAllSessions C_GetSessionInfo C_GetOperationState
            C_SetOperationState C_Login C_Logout C_CreateObject C_CopyObject C_DestroyObject
            C_GetObjectSize C_GetAttributeValue C_SetAttributeValue C_FindObjectsInit
            C_FindObjects C_FindObjectsFinal C_EncryptInit C_Encrypt C_EncryptUpdate
            C_EncryptFinal C_DecryptInit C_Decrypt C_DecryptUpdate C_DecryptFinal C_DigestInit
            C_Digest C_DigestUpdate C_DigestKey C_DigestFinal C_SignInit C_Sign C_SignUpdate
            C_SignFinal C_SignRecoverInit C_SignRecover C_VerifyInit C_Verify C_VerifyUpdate
            C_VerifyFinal C_VerifyRecoverInit C_VerifyRecover C_DigestEncryptUpdate
            C_DecryptDigestUpdate C_SignEncryptUpdate C_DecryptVerifyUpdate C_GenerateKey
            C_GenerateKeyPair C_WrapKey C_UnwrapKey C_DeriveKey C_SeedRandom C_GenerateRandom
            C_GetFunctionStatus C_CancelFunction C_WaitForSlotEvent
        }
    };
}

static LIST_2_40: CK_FUNCTION_LIST = list_with! { CK_FUNCTION_LIST, VERSION_2_40, C_GetInfo, [] };
static LIST_3_0: CK_FUNCTION_LIST_3_0 = list_with! {
    CK_FUNCTION_LIST_3_0, VERSION_3_0, get_info_3_0, [
        C_GetInterfaceList C_GetInterface C_LoginUser C_SessionCancel C_MessageEncryptInit
        C_EncryptMessage C_EncryptMessageBegin C_EncryptMessageNext C_MessageEncryptFinal
        C_MessageDecryptInit C_DecryptMessage C_DecryptMessageBegin C_DecryptMessageNext
        C_MessageDecryptFinal C_MessageSignInit C_SignMessage C_SignMessageBegin C_SignMessageNext
        C_MessageSignFinal C_MessageVerifyInit C_VerifyMessage C_VerifyMessageBegin
        C_VerifyMessageNext C_MessageVerifyFinal
    ]
};

/// What other threads may look at, since nobody writes to it.
struct Shared<T>(T);

// SAFETY: pointers to statics, which nobody writes to.
unsafe impl<T> Sync for Shared<T> {}

/// The newest first: it is the default.
static INTERFACES: Shared<[CK_INTERFACE; 2]> = Shared([
    CK_INTERFACE {
        pInterfaceName: NAME.as_ptr().cast_mut().cast(),
        pFunctionList: (&raw const LIST_3_0).cast_mut().cast(),
        flags: 0,
    },
    CK_INTERFACE {
        pInterfaceName: NAME.as_ptr().cast_mut().cast(),
        pFunctionList: (&raw const LIST_2_40).cast_mut().cast(),
        flags: 0,
    },
]);

entries! {
    fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) {
        Place::at(list)?.put((&raw const LIST_2_40).cast_mut());
        Ok(())
    }

    fn C_GetInterfaceList(interfaces: *mut CK_INTERFACE, count: *mut CK_ULONG) {
        put_list(&INTERFACES.0, interfaces, count)
    }

    fn C_GetInterface(
        name: *mut CK_UTF8CHAR,
        version: *mut CK_VERSION,
        interface: *mut *mut CK_INTERFACE,
        flags: CK_FLAGS,
    ) {
        let place = Place::at(interface)?;
        let is_named = name.is_null() || CStr::from_ptr(name.cast()) == NAME;
        let wanted = match version.is_null() {
            true => None,
            false => Some(version.read_unaligned()),
        };
        let versions = [VERSION_3_0, VERSION_2_40].into_iter().zip(&INTERFACES.0);
        let is_it = |own: &CK_VERSION| {
            wanted.is_none_or(|wanted| (own.major, own.minor) == (wanted.major, wanted.minor))
        };
        match versions.filter(|_| is_named && flags == 0).find(|(own, _)| is_it(own)) {
            Some((_, found)) => place.put((found as *const CK_INTERFACE).cast_mut()),
            None => return fail(CKR_FUNCTION_FAILED),
        }
        Ok(())
    }
}

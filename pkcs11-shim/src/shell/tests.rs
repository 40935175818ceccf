//! Hostile arguments, wrong states and the protocol of lengths, by raw pointers through the
//! function list, as a program would. No bus is there; what needs the agent is tested with it.

use std::os::raw::c_void;
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;

use super::tables::C_GetInterface;
use super::tables::{C_GetFunctionList, C_GetInterfaceList};

/// A length that no buffer has.
const ABSURD: CK_ULONG = CK_ULONG::MAX;

/// The module of this process is one, and tests are many.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn list() -> CK_FUNCTION_LIST {
    let mut list = null_mut();
    assert_eq!(unsafe { C_GetFunctionList(&mut list) }, CKR_OK);
    unsafe { *list }
}

/// Calls a function of the list.
macro_rules! call {
    ($list:expr, $name:ident($($argument:expr),* $(,)?)) => {
        unsafe { ($list.$name.unwrap())($($argument),*) }
    };
}

/// An initialized module; finalized at the end. There is no bus where it looks for one.
struct Initialized(CK_FUNCTION_LIST);

impl Initialized {
    fn new() -> Self {
        // SAFETY: tests that look at the environment are alone.
        unsafe { std::env::set_var("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere") };
        let list = list();
        assert_eq!(call!(list, C_Initialize(null_mut())), CKR_OK);
        Self(list)
    }

    /// A session, made without the agent that a real one asks for first.
    fn session(&self) -> CK_SESSION_HANDLE {
        super::process::module().unwrap().begin_session(CKF_RW_SESSION).unwrap()
    }
}

impl Drop for Initialized {
    fn drop(&mut self) {
        assert_eq!(call!(self.0, C_Finalize(null_mut())), CKR_OK);
    }
}

fn digest_of(kind: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism: kind, pParameter: null_mut(), ulParameterLen: 0 }
}

/// Calls functions of a list, each by its name; what they return.
macro_rules! each {
    ($list:expr; $($name:ident($($argument:expr),*);)*) => {
        vec![$((stringify!($name), call!($list, $name($($argument),*)))),*]
    };
}

/// Every function, with null for each pointer and an absurd number for each number.
fn all_hostile(l: &CK_FUNCTION_LIST) -> Vec<(&'static str, CK_RV)> {
    [hostile_to_objects(l), hostile_to_keys(l)].concat()
}

fn hostile_to_objects(l: &CK_FUNCTION_LIST) -> Vec<(&'static str, CK_RV)> {
    each! { l;
        C_GetInfo(null_mut());
        C_GetSlotList(1, null_mut(), null_mut());
        C_GetSlotInfo(ABSURD, null_mut());
        C_GetTokenInfo(ABSURD, null_mut());
        C_GetMechanismList(ABSURD, null_mut(), null_mut());
        C_GetMechanismInfo(ABSURD, ABSURD, null_mut());
        C_InitToken(ABSURD, null_mut(), ABSURD, null_mut());
        C_InitPIN(ABSURD, null_mut(), ABSURD);
        C_SetPIN(ABSURD, null_mut(), ABSURD, null_mut(), ABSURD);
        C_OpenSession(ABSURD, ABSURD, null_mut(), None, null_mut());
        C_CloseSession(ABSURD);
        C_CloseAllSessions(ABSURD);
        C_GetSessionInfo(ABSURD, null_mut());
        C_GetOperationState(ABSURD, null_mut(), null_mut());
        C_SetOperationState(ABSURD, null_mut(), ABSURD, ABSURD, ABSURD);
        C_Login(ABSURD, ABSURD, null_mut(), ABSURD);
        C_Logout(ABSURD);
        C_CreateObject(ABSURD, null_mut(), ABSURD, null_mut());
        C_CopyObject(ABSURD, ABSURD, null_mut(), ABSURD, null_mut());
        C_DestroyObject(ABSURD, ABSURD);
        C_GetObjectSize(ABSURD, ABSURD, null_mut());
        C_GetAttributeValue(ABSURD, ABSURD, null_mut(), ABSURD);
        C_SetAttributeValue(ABSURD, ABSURD, null_mut(), ABSURD);
        C_FindObjectsInit(ABSURD, null_mut(), ABSURD);
        C_FindObjects(ABSURD, null_mut(), ABSURD, null_mut());
        C_FindObjectsFinal(ABSURD);
    }
}

fn hostile_to_keys(l: &CK_FUNCTION_LIST) -> Vec<(&'static str, CK_RV)> {
    each! { l;
        C_EncryptInit(ABSURD, null_mut(), ABSURD);
        C_Encrypt(ABSURD, null_mut(), ABSURD, null_mut(), null_mut());
        C_EncryptUpdate(ABSURD, null_mut(), ABSURD, null_mut(), null_mut());
        C_EncryptFinal(ABSURD, null_mut(), null_mut());
        C_DecryptInit(ABSURD, null_mut(), ABSURD);
        C_Decrypt(ABSURD, null_mut(), ABSURD, null_mut(), null_mut());
        C_DecryptUpdate(ABSURD, null_mut(), ABSURD, null_mut(), null_mut());
        C_DecryptFinal(ABSURD, null_mut(), null_mut());
        C_DigestInit(ABSURD, null_mut());
        C_Digest(ABSURD, null_mut(), ABSURD, null_mut(), null_mut());
        C_DigestUpdate(ABSURD, null_mut(), ABSURD);
        C_DigestKey(ABSURD, ABSURD);
        C_DigestFinal(ABSURD, null_mut(), null_mut());
        C_SignInit(ABSURD, null_mut(), ABSURD);
        C_Sign(ABSURD, null_mut(), ABSURD, null_mut(), null_mut());
        C_SignUpdate(ABSURD, null_mut(), ABSURD);
        C_SignFinal(ABSURD, null_mut(), null_mut());
        C_SignRecoverInit(ABSURD, null_mut(), ABSURD);
        C_SignRecover(ABSURD, null_mut(), ABSURD, null_mut(), null_mut());
        C_VerifyInit(ABSURD, null_mut(), ABSURD);
        C_Verify(ABSURD, null_mut(), ABSURD, null_mut(), ABSURD);
        C_VerifyUpdate(ABSURD, null_mut(), ABSURD);
        C_VerifyFinal(ABSURD, null_mut(), ABSURD);
        C_VerifyRecoverInit(ABSURD, null_mut(), ABSURD);
        C_VerifyRecover(ABSURD, null_mut(), ABSURD, null_mut(), null_mut());
        C_DigestEncryptUpdate(ABSURD, null_mut(), ABSURD, null_mut(), null_mut());
        C_DecryptDigestUpdate(ABSURD, null_mut(), ABSURD, null_mut(), null_mut());
        C_SignEncryptUpdate(ABSURD, null_mut(), ABSURD, null_mut(), null_mut());
        C_DecryptVerifyUpdate(ABSURD, null_mut(), ABSURD, null_mut(), null_mut());
        C_GenerateKey(ABSURD, null_mut(), null_mut(), ABSURD, null_mut());
        C_GenerateKeyPair(
            ABSURD, null_mut(), null_mut(), ABSURD, null_mut(), ABSURD, null_mut(), null_mut()
        );
        C_WrapKey(ABSURD, null_mut(), ABSURD, ABSURD, null_mut(), null_mut());
        C_UnwrapKey(
            ABSURD, null_mut(), ABSURD, null_mut(), ABSURD, null_mut(), ABSURD, null_mut()
        );
        C_DeriveKey(ABSURD, null_mut(), ABSURD, null_mut(), ABSURD, null_mut());
        C_SeedRandom(ABSURD, null_mut(), ABSURD);
        C_GenerateRandom(ABSURD, null_mut(), ABSURD);
        C_GetFunctionStatus(ABSURD);
        C_CancelFunction(ABSURD);
        C_WaitForSlotEvent(0, null_mut(), null_mut());
    }
}

#[test]
fn nothing_works_before_it_is_initialized() {
    let _alone = alone();
    let list = list();
    for (name, value) in all_hostile(&list) {
        assert_eq!(value, CKR_CRYPTOKI_NOT_INITIALIZED, "{name}");
    }
    assert_eq!(call!(list, C_Finalize(null_mut())), CKR_CRYPTOKI_NOT_INITIALIZED);
}

#[test]
fn null_and_absurd_numbers_are_refused_by_every_function() {
    let _alone = alone();
    let module = Initialized::new();
    let refusals = [
        CKR_ARGUMENTS_BAD,
        CKR_SLOT_ID_INVALID,
        CKR_SESSION_HANDLE_INVALID,
        CKR_FUNCTION_NOT_SUPPORTED,
        CKR_FUNCTION_NOT_PARALLEL,
    ];
    let all = all_hostile(&module.0);
    assert_eq!(all.len(), 65);
    for (name, value) in all {
        assert!(refusals.contains(&value), "{name}: {value:#x}");
    }
}

#[test]
fn a_session_does_not_help_hostile_arguments() {
    let _alone = alone();
    let module = Initialized::new();
    let (l, session) = (&module.0, module.session());
    let mut length: CK_ULONG = 0;
    let mut byte = 0u8;
    let bad = CKR_ARGUMENTS_BAD;
    // A pointer to something, and a length that it does not have; null, and a length.
    assert_eq!(call!(l, C_Login(session, CKU_USER, &mut byte, ABSURD)), bad);
    assert_eq!(call!(l, C_Login(session, CKU_USER, null_mut(), 4)), bad);
    assert_eq!(call!(l, C_Sign(session, &mut byte, ABSURD, null_mut(), &mut length)), bad);
    assert_eq!(call!(l, C_Sign(session, null_mut(), 1, null_mut(), &mut length)), bad);
    assert_eq!(call!(l, C_DigestUpdate(session, &mut byte, ABSURD / 2)), bad);
    assert_eq!(call!(l, C_FindObjects(session, null_mut(), 1, &mut length)), bad);
    assert_eq!(call!(l, C_GenerateRandom(session, null_mut(), 1)), bad);
    assert_eq!(call!(l, C_GenerateRandom(session, &mut byte, ABSURD)), bad);
    assert_eq!(call!(l, C_SeedRandom(session, &mut byte, 1)), CKR_RANDOM_SEED_NOT_SUPPORTED);
    assert_eq!(call!(l, C_SignInit(session, null_mut(), 1)), bad);
    assert_eq!(call!(l, C_DigestInit(session, null_mut())), bad);
    // Handles of nothing.
    let mut ecdsa = digest_of(CKM_ECDSA);
    assert_eq!(call!(l, C_SignInit(session, &mut ecdsa, 1)), CKR_KEY_HANDLE_INVALID);
    assert_eq!(call!(l, C_DestroyObject(session, 1)), CKR_OBJECT_HANDLE_INVALID);
    // Mechanisms of nothing, or for something else, or with a parameter that is not theirs.
    for (kind, value) in [(ABSURD, CKR_MECHANISM_INVALID), (CKM_SHA256, CKR_MECHANISM_INVALID)] {
        assert_eq!(call!(l, C_SignInit(session, &mut digest_of(kind), 1)), value);
    }
    assert_eq!(call!(l, C_DigestInit(session, &mut ecdsa)), CKR_MECHANISM_INVALID);
    let mut odd = CK_MECHANISM {
        mechanism: CKM_SHA256,
        pParameter: (&raw mut byte).cast(),
        ulParameterLen: 1,
    };
    let invalid = CKR_MECHANISM_PARAM_INVALID;
    assert_eq!(call!(l, C_DigestInit(session, &mut odd)), invalid);
    odd.ulParameterLen = ABSURD;
    assert_eq!(call!(l, C_DigestInit(session, &mut odd)), invalid);
    // A label at null, and one longer than anything.
    for (at, length) in [(null_mut(), 1), ((&raw mut byte).cast::<c_void>(), ABSURD)] {
        let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: CKM_SHA256,
            mgf: CKG_MGF1_SHA256,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: at,
            ulSourceDataLen: length,
        };
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_RSA_PKCS_OAEP,
            pParameter: (&raw mut oaep).cast(),
            ulParameterLen: size_of_val(&oaep) as CK_ULONG,
        };
        assert_eq!(call!(l, C_DecryptInit(session, &mut mechanism, 1)), invalid);
    }
}

#[test]
fn templates_may_lie() {
    let _alone = alone();
    let module = Initialized::new();
    let (l, session) = (&module.0, module.session());
    let mut class = CKO_CERTIFICATE;
    let mut object = 0;
    let attribute = |kind, at: *mut c_void, length| CK_ATTRIBUTE {
        type_: kind,
        pValue: at,
        ulValueLen: length,
    };
    let whole = size_of::<CK_ULONG>() as CK_ULONG;
    let right = attribute(CKA_CLASS, (&raw mut class).cast(), whole);
    let mut create = |mut template: Vec<CK_ATTRIBUTE>, count: CK_ULONG| {
        let at = template.as_mut_ptr();
        call!(l, C_CreateObject(session, at, count, &mut object))
    };
    let value_invalid = CKR_ATTRIBUTE_VALUE_INVALID;
    assert_eq!(create(vec![], 0), CKR_TEMPLATE_INCOMPLETE);
    assert_eq!(create(vec![right], 1), CKR_TEMPLATE_INCOMPLETE);
    assert_eq!(create(vec![right], ABSURD), CKR_ARGUMENTS_BAD);
    let short = attribute(CKA_CLASS, (&raw mut class).cast(), whole - 1);
    assert_eq!(create(vec![short], 1), value_invalid);
    let nowhere = attribute(CKA_VALUE, null_mut(), 100);
    assert_eq!(create(vec![right, nowhere], 2), value_invalid);
    let endless = attribute(CKA_VALUE, without_provenance_mut(1), ABSURD);
    assert_eq!(create(vec![right, endless], 2), value_invalid);
    let mut junk = [0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0];
    let junk = attribute(CKA_VALUE, junk.as_mut_ptr().cast(), 7);
    assert_eq!(create(vec![right, junk], 2), value_invalid);
}

#[test]
fn lengths_are_asked_for_and_a_small_buffer_ends_nothing() {
    let _alone = alone();
    let module = Initialized::new();
    let (l, session) = (&module.0, module.session());
    let begin = || call!(l, C_DigestInit(session, &mut digest_of(CKM_SHA256)));
    assert_eq!(begin(), CKR_OK);
    assert_eq!(begin(), CKR_OPERATION_ACTIVE);
    let (mut digest, mut length) = ([0xaau8; 40], 31);
    let abc = b"abc".as_ptr().cast_mut();
    assert_eq!(call!(l, C_Digest(session, abc, 3, null_mut(), &mut length)), CKR_OK);
    assert_eq!(length, 32);
    length = 31;
    let at = digest.as_mut_ptr();
    assert_eq!(call!(l, C_Digest(session, abc, 3, at, &mut length)), CKR_BUFFER_TOO_SMALL);
    assert_eq!((length, digest), (32, [0xaa; 40]));
    length = 40;
    assert_eq!(call!(l, C_Digest(session, abc, 3, digest.as_mut_ptr(), &mut length)), CKR_OK);
    assert_eq!(
        (length, &digest[..4], &digest[32..]),
        (32, &[0xba, 0x78, 0x16, 0xbf][..], &[0xaa; 8][..])
    );
    // It has ended.
    let ended = CKR_OPERATION_NOT_INITIALIZED;
    assert_eq!(call!(l, C_Digest(session, abc, 3, digest.as_mut_ptr(), &mut length)), ended);

    // In parts it gives the same, and a null mechanism ends it.
    let whole = digest;
    assert_eq!(begin(), CKR_OK);
    assert_eq!(call!(l, C_DigestUpdate(session, abc, 1)), CKR_OK);
    let active = CKR_OPERATION_ACTIVE;
    assert_eq!(call!(l, C_Digest(session, abc, 3, null_mut(), &mut length)), active);
    assert_eq!(call!(l, C_DigestUpdate(session, abc.wrapping_add(1), 2)), CKR_OK);
    length = 0;
    let at = digest.as_mut_ptr();
    assert_eq!(call!(l, C_DigestFinal(session, at, &mut length)), CKR_BUFFER_TOO_SMALL);
    assert_eq!(call!(l, C_DigestFinal(session, digest.as_mut_ptr(), &mut length)), CKR_OK);
    assert_eq!(digest, whole);
    assert_eq!(begin(), CKR_OK);
    assert_eq!(call!(l, C_DigestInit(session, null_mut())), CKR_OK);
    assert_eq!(call!(l, C_DigestUpdate(session, abc, 1)), ended);
}

#[test]
fn lists_keep_to_their_room() {
    let _alone = alone();
    let module = Initialized::new();
    let l = &module.0;
    let (mut kinds, mut count) = ([0; 64], 0);
    let at = kinds.as_mut_ptr();
    assert_eq!(call!(l, C_GetMechanismList(0, null_mut(), &mut count)), CKR_OK);
    let all = count;
    assert!(all > 10 && all < 64);
    count = all - 1;
    assert_eq!(call!(l, C_GetMechanismList(0, at, &mut count)), CKR_BUFFER_TOO_SMALL);
    assert_eq!((count, kinds), (all, [0; 64]));
    assert_eq!(call!(l, C_GetMechanismList(0, kinds.as_mut_ptr(), &mut count)), CKR_OK);
    assert!(kinds.contains(&CKM_ECDSA) && !kinds.contains(&CKM_RSA_X_509));
    let mut info = CK_MECHANISM_INFO::default();
    for kind in &kinds[..count as usize] {
        assert_eq!(call!(l, C_GetMechanismInfo(0, *kind, &mut info)), CKR_OK);
    }
    let raw_rsa = call!(l, C_GetMechanismInfo(0, CKM_RSA_X_509, &mut info));
    assert_eq!(raw_rsa, CKR_MECHANISM_INVALID);
}

#[test]
fn locks_of_the_programs_own_are_not_used() {
    unsafe extern "C" fn create(_: *mut *mut c_void) -> CK_RV {
        CKR_GENERAL_ERROR
    }
    unsafe extern "C" fn with(_: *mut c_void) -> CK_RV {
        CKR_GENERAL_ERROR
    }
    let _alone = alone();
    let list = list();
    let with_locks = CK_C_INITIALIZE_ARGS {
        CreateMutex: Some(create),
        DestroyMutex: Some(with),
        LockMutex: Some(with),
        UnlockMutex: Some(with),
        flags: 0,
        pReserved: null_mut(),
    };
    let begin = |arguments: CK_C_INITIALIZE_ARGS| {
        let mut arguments = arguments;
        let value = call!(list, C_Initialize((&raw mut arguments).cast()));
        if value == CKR_OK {
            let again = call!(list, C_Initialize(null_mut()));
            assert_eq!(again, CKR_CRYPTOKI_ALREADY_INITIALIZED);
            assert_eq!(call!(list, C_Finalize(null_mut())), CKR_OK);
        }
        value
    };
    assert_eq!(begin(CK_C_INITIALIZE_ARGS::default()), CKR_OK);
    assert_eq!(begin(with_locks), CKR_CANT_LOCK);
    assert_eq!(begin(CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..with_locks }), CKR_OK);
    assert_eq!(begin(CK_C_INITIALIZE_ARGS { LockMutex: None, ..with_locks }), CKR_ARGUMENTS_BAD);
    let reserved = CK_C_INITIALIZE_ARGS { pReserved: without_provenance_mut(8), ..with_locks };
    assert_eq!(begin(reserved), CKR_ARGUMENTS_BAD);
}

#[test]
fn both_interfaces_are_found() {
    let (mut found, mut count) = ([CK_INTERFACE::default(); 3], 0);
    assert_eq!(unsafe { C_GetInterfaceList(null_mut(), &mut count) }, CKR_OK);
    assert_eq!(count, 2);
    assert_eq!(unsafe { C_GetInterfaceList(found.as_mut_ptr(), &mut count) }, CKR_OK);
    let get = |name: *const u8, version: Option<CK_VERSION>, flags| {
        let mut interface = null_mut();
        let mut version = version;
        let version = version.as_mut().map_or(null_mut(), |version| version as *mut _);
        match unsafe { C_GetInterface(name.cast_mut(), version, &mut interface, flags) } {
            CKR_OK => Ok(unsafe { *(*interface).pFunctionList.cast::<CK_VERSION>() }),
            value => Err(value),
        }
    };
    let version = |major, minor| CK_VERSION { major, minor };
    let shown = |found: Result<CK_VERSION, CK_RV>| found.map(|found| (found.major, found.minor));
    let name = c"PKCS 11".as_ptr().cast();
    assert_eq!(shown(get(null_mut(), None, 0)), Ok((3, 0)));
    assert_eq!(shown(get(name, Some(version(2, 40)), 0)), Ok((2, 40)));
    assert_eq!(shown(get(name, Some(version(3, 0)), 0)), Ok((3, 0)));
    assert_eq!(shown(get(name, Some(version(3, 1)), 0)), Err(CKR_FUNCTION_FAILED));
    assert_eq!(shown(get(name, None, CKF_INTERFACE_FORK_SAFE)), Err(CKR_FUNCTION_FAILED));
    let other = c"Vendor".as_ptr().cast();
    assert_eq!(shown(get(other, None, 0)), Err(CKR_FUNCTION_FAILED));
    let nowhere = unsafe { C_GetInterface(null_mut(), null_mut(), null_mut(), 0) };
    assert_eq!(nowhere, CKR_ARGUMENTS_BAD);
}

#[test]
fn without_an_agent_there_is_a_slot_and_no_token() {
    let _alone = alone();
    let module = Initialized::new();
    let l = &module.0;
    let mut count = 9;
    assert_eq!(call!(l, C_GetSlotList(CK_FALSE, null_mut(), &mut count)), CKR_OK);
    assert_eq!(count, 1);
    let (mut token, mut session) = (CK_TOKEN_INFO::default(), 0);
    let absent = CKR_TOKEN_NOT_PRESENT;
    assert_eq!(call!(l, C_GetTokenInfo(0, &mut token)), absent);
    let flags = CKF_SERIAL_SESSION;
    assert_eq!(call!(l, C_OpenSession(0, flags, null_mut(), None, &mut session)), absent);
    let parallel = CKR_SESSION_PARALLEL_NOT_SUPPORTED;
    assert_eq!(call!(l, C_OpenSession(0, 0, null_mut(), None, &mut session)), parallel);
}

#[test]
fn a_panic_stays_inside() {
    assert_eq!(super::guarded(|| panic!("inside")), CKR_GENERAL_ERROR);
}

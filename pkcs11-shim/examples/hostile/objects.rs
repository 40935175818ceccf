//! What can be read of module, token and objects.

use std::ptr::{null_mut, without_provenance_mut};

use cryptoki_sys::*;

use crate::ABSURD;
use crate::calls::{Attributes, Given, call};

/// What there is to be read without a session, each into exactly its place.
pub fn infos(l: &CK_FUNCTION_LIST) {
    let mut info = Box::new(CK_INFO::default());
    assert_eq!(call!(l, C_GetInfo(&mut *info)), CKR_OK);
    let mut slot = Box::new(CK_SLOT_INFO::default());
    assert_eq!(call!(l, C_GetSlotInfo(0, &mut *slot)), CKR_OK);
    let mut token = Box::new(CK_TOKEN_INFO::default());
    assert_eq!(call!(l, C_GetTokenInfo(0, &mut *token)), CKR_OK);
    assert_eq!(call!(l, C_GetTokenInfo(1, &mut *token)), CKR_SLOT_ID_INVALID);
    let slots = list(|at, count| call!(l, C_GetSlotList(CK_TRUE, at, count)));
    assert_eq!(slots, [0]);
    let kinds = list(|at, count| call!(l, C_GetMechanismList(0, at, count)));
    let mut about = Box::new(CK_MECHANISM_INFO::default());
    for kind in kinds {
        assert_eq!(call!(l, C_GetMechanismInfo(0, kind, &mut *about)), CKR_OK);
    }
    let unknown = call!(l, C_GetMechanismInfo(0, ABSURD, &mut *about));
    assert_eq!(unknown, CKR_MECHANISM_INVALID);
}

fn list(mut function: impl FnMut(*mut CK_ULONG, *mut CK_ULONG) -> CK_RV) -> Vec<CK_ULONG> {
    let mut count = Box::new(ABSURD);
    assert_eq!(function(null_mut(), &mut *count), CKR_OK);
    let whole = *count;
    let mut short = vec![0; whole as usize - 1].into_boxed_slice();
    *count = whole - 1;
    assert_eq!(function(short.as_mut_ptr(), &mut *count), CKR_BUFFER_TOO_SMALL);
    let mut room = vec![0; whole as usize].into_boxed_slice();
    assert_eq!(function(room.as_mut_ptr(), &mut *count), CKR_OK);
    room.into_vec()
}

/// The value of an attribute, asked for as programs do; `None` where it cannot be had.
pub fn value(
    l: &CK_FUNCTION_LIST,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    kind: CK_ATTRIBUTE_TYPE,
) -> Option<Vec<u8>> {
    let ask = |room: &mut CK_ATTRIBUTE| {
        // Exactly one attribute, in a block of its own.
        let mut one = Box::new(*room);
        let answer = call!(l, C_GetAttributeValue(session, object, &mut *one, 1));
        *room = *one;
        answer
    };
    let mut asked = CK_ATTRIBUTE { type_: kind, pValue: null_mut(), ulValueLen: 0 };
    match ask(&mut asked) {
        CKR_OK => {}
        CKR_ATTRIBUTE_TYPE_INVALID | CKR_ATTRIBUTE_SENSITIVE => {
            assert_eq!(asked.ulValueLen, CK_UNAVAILABLE_INFORMATION);
            return None;
        }
        other => panic!("{kind:#x}: {other:#x}"),
    }
    let length = asked.ulValueLen as usize;
    let with = |room: &mut Box<[u8]>| {
        let (at, length) = (room.as_mut_ptr().cast(), room.len() as CK_ULONG);
        let mut asked = CK_ATTRIBUTE { type_: kind, pValue: at, ulValueLen: length };
        (ask(&mut asked), asked.ulValueLen)
    };
    if length > 0 {
        let mut short = vec![0xaa; length - 1].into_boxed_slice();
        assert_eq!(with(&mut short), (CKR_BUFFER_TOO_SMALL, CK_UNAVAILABLE_INFORMATION));
        assert!(short.iter().all(|byte| *byte == 0xaa));
    }
    let mut room = vec![0; length].into_boxed_slice();
    assert_eq!(with(&mut room), (CKR_OK, length as CK_ULONG));
    Some(room.into_vec())
}

/// All attributes of objects, one by one; and changes that are no good.
pub fn attributes(l: &CK_FUNCTION_LIST, session: CK_SESSION_HANDLE, objects: &[CK_OBJECT_HANDLE]) {
    for object in objects {
        let there = (0..0x620).filter(|kind| value(l, session, *object, *kind).is_some()).count();
        assert!(there > 8, "{there} attributes of {object}");
        for kind in [CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_VENDOR_DEFINED, ABSURD] {
            assert_eq!(value(l, session, *object, kind), None);
        }
        let mut template = Attributes::default().bytes(CKA_LABEL, &[0xff; 3]).given();
        let changed = call!(l, C_SetAttributeValue(session, *object, template.at(), 1));
        assert_ne!(changed, CKR_OK, "a label that is no text");
        let absurd = call!(l, C_SetAttributeValue(session, *object, null_mut(), ABSURD));
        assert_eq!(absurd, CKR_ARGUMENTS_BAD);
    }
    let mut one = CK_ATTRIBUTE { type_: CKA_CLASS, pValue: null_mut(), ulValueLen: 0 };
    let nothing = call!(l, C_GetAttributeValue(session, ABSURD, &mut one, 1));
    assert_eq!(nothing, CKR_OBJECT_HANDLE_INVALID);
}

/// A search, one by one, and with room for exactly all.
pub fn found(l: &CK_FUNCTION_LIST, session: CK_SESSION_HANDLE) {
    let search = |most: usize| {
        assert_eq!(call!(l, C_FindObjectsInit(session, null_mut(), 0)), CKR_OK);
        let again = call!(l, C_FindObjectsInit(session, null_mut(), 0));
        assert_eq!(again, CKR_OPERATION_ACTIVE);
        let mut all = Vec::new();
        loop {
            let mut room = vec![0; most].into_boxed_slice();
            let (at, mut count) = (room.as_mut_ptr(), Box::new(0));
            let found = call!(l, C_FindObjects(session, at, most as CK_ULONG, &mut *count));
            assert_eq!(found, CKR_OK);
            if *count == 0 {
                break;
            }
            all.extend_from_slice(&room[..*count as usize]);
        }
        assert_eq!(call!(l, C_FindObjectsFinal(session)), CKR_OK);
        assert_eq!(call!(l, C_FindObjectsFinal(session)), CKR_OPERATION_NOT_INITIALIZED);
        all
    };
    let one_by_one = search(1);
    assert!(one_by_one.len() >= 6, "{one_by_one:?}");
    assert_eq!(search(one_by_one.len()), one_by_one);
}

/// Certificates that are none.
pub fn certificates(l: &CK_FUNCTION_LIST, session: CK_SESSION_HANDLE) {
    let mut object = Box::new(0);
    let mut create = |given: &mut Given| {
        let (at, count) = (given.at(), given.count());
        call!(l, C_CreateObject(session, at, count, &mut *object))
    };
    let head = || Attributes::default().number(CKA_CLASS, CKO_CERTIFICATE).flag(CKA_TOKEN, true);
    let mut junk = vec![0x30, 0x82, 0x01, 0x00, 0x30, 0x82, 0x00, 0xff, 0xa0, 3, 2, 1, 2];
    for length in 0..junk.len() {
        let mut given = head().bytes(CKA_VALUE, &junk[..length]).given();
        assert_eq!(create(&mut given), CKR_ATTRIBUTE_VALUE_INVALID, "{length}");
    }
    junk.resize(260, 0x30);
    let mut given = head().bytes(CKA_VALUE, &junk).given();
    assert_eq!(create(&mut given), CKR_ATTRIBUTE_VALUE_INVALID);
    for (at, length) in [(null_mut(), 100), (without_provenance_mut(1), ABSURD)] {
        let mut given = head().given();
        given.attributes.push(CK_ATTRIBUTE { type_: CKA_VALUE, pValue: at, ulValueLen: length });
        assert_eq!(create(&mut given), CKR_ATTRIBUTE_VALUE_INVALID);
    }
}

//! The library, its slot and its token; sessions; objects (PKCS #11 base 2.40, sections 5.4 to 5.7).

use std::os::raw::c_void;

use cryptoki_sys::*;

use super::process::{finalize, initialize, module};
use super::raw::{Place, bytes, put_attributes, put_list, template, wanted};
use super::{entries, tables};
use crate::rv::{Result, fail};
use crate::token;

entries! {
    fn C_Initialize(arguments: *mut c_void) {
        if !arguments.is_null() {
            may_initialize(&arguments.cast::<CK_C_INITIALIZE_ARGS>().read_unaligned())?;
        }
        initialize()
    }

    fn C_Finalize(reserved: *mut c_void) {
        match reserved.is_null() {
            true => finalize(),
            false => fail(CKR_ARGUMENTS_BAD),
        }
    }

    fn C_GetInfo(info: *mut CK_INFO) {
        module()?;
        Place::at(info)?.put(token::info(tables::VERSION_2_40));
        Ok(())
    }

    fn C_GetSlotList(with_token: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG) {
        let module = module()?;
        Place::at(count)?;
        put_list(&module.slots(with_token != CK_FALSE), slots, count)
    }

    fn C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) {
        let (module, place) = (module()?, Place::at(info)?);
        place.put(module.slot_info(slot)?);
        Ok(())
    }

    fn C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) {
        let (module, place) = (module()?, Place::at(info)?);
        place.put(module.token_info(slot)?);
        Ok(())
    }

    fn C_GetMechanismList(
        slot: CK_SLOT_ID,
        kinds: *mut CK_MECHANISM_TYPE,
        count: *mut CK_ULONG,
    ) {
        put_list(&module()?.mechanisms(slot)?, kinds, count)
    }

    fn C_GetMechanismInfo(
        slot: CK_SLOT_ID,
        kind: CK_MECHANISM_TYPE,
        info: *mut CK_MECHANISM_INFO,
    ) {
        let (module, place) = (module()?, Place::at(info)?);
        place.put(module.mechanism_info(slot, kind)?);
        Ok(())
    }

    fn C_WaitForSlotEvent(flags: CK_FLAGS, _slot: *mut CK_SLOT_ID, _reserved: *mut c_void) {
        module()?;
        match flags & CKF_DONT_BLOCK {
            0 => fail(CKR_FUNCTION_NOT_SUPPORTED),
            _ => fail(CKR_NO_EVENT),
        }
    }

    fn C_OpenSession(
        slot: CK_SLOT_ID,
        flags: CK_FLAGS,
        _application: *mut c_void,
        _notify: CK_NOTIFY,
        session: *mut CK_SESSION_HANDLE,
    ) {
        let (module, place) = (module()?, Place::at(session)?);
        place.put(module.open_session(slot, flags)?);
        Ok(())
    }

    fn C_CloseSession(session: CK_SESSION_HANDLE) {
        module()?.close_session(session)
    }

    fn C_CloseAllSessions(slot: CK_SLOT_ID) {
        module()?.close_all_sessions(slot)
    }

    fn C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) {
        let (module, place) = (module()?, Place::at(info)?);
        place.put(module.session_info(session)?);
        Ok(())
    }

    fn C_SessionCancel(session: CK_SESSION_HANDLE, flags: CK_FLAGS) {
        module()?.cancel(session, flags)
    }

    fn C_Login(
        session: CK_SESSION_HANDLE,
        user: CK_USER_TYPE,
        pin: *mut CK_UTF8CHAR,
        pin_length: CK_ULONG,
    ) {
        let module = module()?;
        bytes(pin, pin_length)?;
        module.login(session, user)
    }

    fn C_LoginUser(
        session: CK_SESSION_HANDLE,
        user: CK_USER_TYPE,
        pin: *mut CK_UTF8CHAR,
        pin_length: CK_ULONG,
        name: *mut CK_UTF8CHAR,
        name_length: CK_ULONG,
    ) {
        let module = module()?;
        bytes(pin, pin_length)?;
        bytes(name, name_length)?;
        module.login(session, user)
    }

    fn C_Logout(session: CK_SESSION_HANDLE) {
        module()?.logout(session)
    }

    fn C_CreateObject(
        session: CK_SESSION_HANDLE,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
        object: *mut CK_OBJECT_HANDLE,
    ) {
        let (module, place) = (module()?, Place::at(object)?);
        place.put(module.create_object(session, &template(attributes, count)?)?);
        Ok(())
    }

    fn C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) {
        module()?.destroy(session, object)
    }

    fn C_GetAttributeValue(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
    ) {
        let kinds = module().and_then(|_| wanted(attributes, count))?;
        put_attributes(attributes, &module()?.attributes(session, object, &kinds)?)
    }

    fn C_SetAttributeValue(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
    ) {
        let module = module()?;
        module.set_attributes(session, object, &template(attributes, count)?)
    }

    fn C_FindObjectsInit(
        session: CK_SESSION_HANDLE,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
    ) {
        let module = module()?;
        module.find_init(session, &template(attributes, count)?)
    }

    fn C_FindObjects(
        session: CK_SESSION_HANDLE,
        objects: *mut CK_OBJECT_HANDLE,
        most: CK_ULONG,
        count: *mut CK_ULONG,
    ) {
        let (module, place) = (module()?, Place::at(count)?);
        if objects.is_null() && most > 0 {
            return fail(CKR_ARGUMENTS_BAD);
        }
        let found = module.find(session, usize::try_from(most).unwrap_or(usize::MAX))?;
        // There are at most as many as the caller has places for.
        objects.cast::<u8>().copy_from(found.as_ptr().cast(), size_of_val(found.as_slice()));
        place.put(CK_ULONG::try_from(found.len()).unwrap_or(0));
        Ok(())
    }

    fn C_FindObjectsFinal(session: CK_SESSION_HANDLE) {
        module()?.find_final(session)
    }
}

/// C_GetInfo of the interface 3.0.
pub(super) unsafe extern "C" fn get_info_3_0(info: *mut CK_INFO) -> CK_RV {
    super::guarded(|| {
        module()?;
        // SAFETY: null, or a place for it.
        unsafe { Place::at(info)?.put(token::info(tables::VERSION_3_0)) };
        Ok(())
    })
}

/// The module locks with what the system has. A program that has only locks of its own cannot
/// have several threads in it.
fn may_initialize(arguments: &CK_C_INITIALIZE_ARGS) -> Result<()> {
    let given = [
        arguments.CreateMutex.is_some(),
        arguments.DestroyMutex.is_some(),
        arguments.LockMutex.is_some(),
        arguments.UnlockMutex.is_some(),
    ];
    let (some, all) = (given.contains(&true), !given.contains(&false));
    if !arguments.pReserved.is_null() || some != all {
        return fail(CKR_ARGUMENTS_BAD);
    }
    match all && arguments.flags & CKF_OS_LOCKING_OK == 0 {
        true => fail(CKR_CANT_LOCK),
        false => Ok(()),
    }
}

//! The counter of epochs: an NV index of type TPM_NT_COUNTER (docs/scheme.md, section 7).

use tss_esapi::attributes::{NvIndexAttributes, NvIndexAttributesBuilder};
use tss_esapi::constants::NvIndexType;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, ObjectHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::structures::{Auth, NvPublicBuilder};

use crate::error::{Error, Hierarchy};
use crate::keys::{Counter, DeviceKeys};
use crate::tpm::connection::{Connection, Encrypt};
use crate::tpm::failure::{Command, is_undefined};

/// In the owner's range (TCG Registry of Reserved TPM 2.0 Handles, section 2.2).
const FIRST_INDEX: u32 = 0x0180_7453;
const INDEX_COUNT: u32 = 16;
const VALUE_BYTES: u16 = 8;

impl Connection {
    /// The first index that nothing is defined at.
    pub(super) fn free_counter_index(&mut self) -> Result<u32, Error> {
        let taken = self.handles(FIRST_INDEX)?;
        (FIRST_INDEX..FIRST_INDEX + INDEX_COUNT)
            .find(|index| !taken.contains(index))
            .ok_or(Error::Misuse(
                "all counters at NV index 0x01807453 to 0x01807462 are in use; undefine those of former enrolments",
            ))
    }

    /// Defines the counter and counts once, which gives it a value; a counter that is defined
    /// already keeps its value.
    pub(crate) fn define_counter(&mut self, keys: &DeviceKeys) -> Result<u64, Error> {
        match self.read_counter(keys) {
            Err(error) if is_undefined(&error) => {}
            Err(error) if is_unwritten(&error) => return self.count_first(keys),
            known => return known,
        }
        let public = NvPublicBuilder::new()
            .with_nv_index(
                NvIndexTpmHandle::new(keys.counter.index).command("TPM2_NV_DefineSpace")?,
            )
            .with_index_name_algorithm(HashingAlgorithm::Sha256)
            .with_index_attributes(attributes()?)
            .with_data_area_size(usize::from(VALUE_BYTES))
            .build()
            .command("TPM2_NV_DefineSpace")?;
        let auth = auth_of(&keys.counter)?;
        // Owner authorisation by HMAC, and the counter's own one encrypted.
        let session = self.salted(|c| c.hold_srk(&keys.srk_public), Encrypt::Command)?;
        let handle = self
            .context
            .execute_with_session(Some(session), |context| {
                context.nv_define_space(Provision::Owner, Some(auth), public)
            })
            .command("TPM2_NV_DefineSpace")?;
        self.close(handle.into())?;
        self.count_first(keys)
    }

    /// The counter's value.
    pub(crate) fn read_counter(&mut self, keys: &DeviceKeys) -> Result<u64, Error> {
        self.with_counter(keys, |connection, handle| {
            let value = connection.read_value(keys, handle)?;
            let value: [u8; 8] = value
                .as_slice()
                .try_into()
                .map_err(|_| Error::Failed { command: "TPM2_NV_Read", rc: 0 })?;
            Ok(u64::from_be_bytes(value))
        })
    }

    /// The counter's value, if there is such a counter.
    pub(crate) fn find_counter(&mut self, keys: &DeviceKeys) -> Result<Option<u64>, Error> {
        match self.read_counter(keys) {
            Err(error) if is_undefined(&error) || is_unwritten(&error) => Ok(None),
            value => value.map(Some),
        }
    }

    /// Counts one up (TPM2_NV_Increment, Part 3, section 31.8).
    pub(crate) fn count_up(&mut self, keys: &DeviceKeys) -> Result<(), Error> {
        self.with_counter(keys, |connection, handle| {
            let session = connection.salted(|c| c.hold_srk(&keys.srk_public), Encrypt::Nothing)?;
            connection
                .context
                .execute_with_session(Some(session), |context| {
                    context.nv_increment(NvAuth::NvIndex(handle), handle)
                })
                .command("TPM2_NV_Increment")
        })
    }

    /// Removes the counter; it is no error when there is none.
    pub(crate) fn undefine_counter(&mut self, keys: &DeviceKeys) -> Result<(), Error> {
        let object = match self.open_counter(&keys.counter) {
            Err(error) if is_undefined(&error) => return Ok(()),
            object => object?,
        };
        self.with_hierarchy(Hierarchy::Owner, |connection, session| {
            connection
                .context
                .execute_with_session(Some(session), |context| {
                    context.nv_undefine_space(Provision::Owner, NvIndexHandle::from(object))
                })
                .command("TPM2_NV_UndefineSpace")
        })
    }

    fn count_first(&mut self, keys: &DeviceKeys) -> Result<u64, Error> {
        self.count_up(keys)?;
        self.read_counter(keys)
    }

    fn read_value(&mut self, keys: &DeviceKeys, handle: NvIndexHandle) -> Result<Vec<u8>, Error> {
        let session = self.salted(|c| c.hold_srk(&keys.srk_public), Encrypt::Nothing)?;
        let value = self
            .context
            .execute_with_session(Some(session), |context| {
                context.nv_read(NvAuth::NvIndex(handle), handle, VALUE_BYTES, 0)
            })
            .command("TPM2_NV_Read")?;
        Ok(value.to_vec())
    }

    fn with_counter<T>(
        &mut self,
        keys: &DeviceKeys,
        work: impl FnOnce(&mut Self, NvIndexHandle) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let object = self.open_counter(&keys.counter)?;
        let result = work(self, NvIndexHandle::from(object));
        self.close(object)?;
        result
    }

    fn open_counter(&mut self, counter: &Counter) -> Result<ObjectHandle, Error> {
        let index = NvIndexTpmHandle::new(counter.index)
            .map_err(|_| Error::Misuse("stored keys with a counter that is no NV index"))?;
        let object = self
            .context
            .tr_from_tpm_public(TpmHandle::NvIndex(index))
            .command("TPM2_NV_ReadPublic")?;
        self.context.tr_set_auth(object, auth_of(counter)?).command("counter authorisation")?;
        Ok(object)
    }

    fn close(&mut self, mut object: ObjectHandle) -> Result<(), Error> {
        self.context.tr_close(&mut object).command("NV handle")
    }
}

/// Nothing has been counted yet: the power went between definition and first increment.
fn is_unwritten(error: &Error) -> bool {
    const NV_UNINITIALIZED: u32 = 0x14a;
    crate::tpm::failure::is(error, NV_UNINITIALIZED)
}

/// Never `orderly`: such a counter jumps ahead whenever the power goes.
fn attributes() -> Result<NvIndexAttributes, Error> {
    NvIndexAttributesBuilder::new()
        .with_nv_index_type(NvIndexType::Counter)
        .with_auth_read(true)
        .with_auth_write(true)
        .with_no_da(true)
        .build()
        .command("counter attributes")
}

fn auth_of(counter: &Counter) -> Result<Auth, Error> {
    Auth::try_from(counter.auth.as_slice()).command("counter authorisation")
}

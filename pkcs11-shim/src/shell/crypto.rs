//! What keys do (PKCS #11 base 2.40, sections 5.9 to 5.16).

use cryptoki_sys::*;

use super::entries;
use super::process::module;
use super::raw::{Buffer, Place, bytes, mechanism, template};
use crate::rv::{Rv, fail};

entries! {
    fn C_SignInit(
        session: CK_SESSION_HANDLE,
        chosen: *mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
    ) {
        let module = module()?;
        module.sign_init(session, mechanism(chosen)?, key)
    }

    fn C_Sign(
        session: CK_SESSION_HANDLE,
        data: *mut CK_BYTE,
        length: CK_ULONG,
        signature: *mut CK_BYTE,
        signature_length: *mut CK_ULONG,
    ) {
        let (module, buffer) = (module()?, Buffer::new(signature, signature_length)?);
        buffer.put(module.sign(session, bytes(data, length)?, buffer.room)?)
    }

    fn C_SignUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, length: CK_ULONG) {
        let module = module()?;
        module.sign_update(session, bytes(data, length)?)
    }

    fn C_SignFinal(
        session: CK_SESSION_HANDLE,
        signature: *mut CK_BYTE,
        signature_length: *mut CK_ULONG,
    ) {
        let (module, buffer) = (module()?, Buffer::new(signature, signature_length)?);
        buffer.put(module.sign_final(session, buffer.room)?)
    }

    fn C_DecryptInit(
        session: CK_SESSION_HANDLE,
        chosen: *mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
    ) {
        let module = module()?;
        module.decrypt_init(session, mechanism(chosen)?, key)
    }

    fn C_Decrypt(
        session: CK_SESSION_HANDLE,
        ciphertext: *mut CK_BYTE,
        length: CK_ULONG,
        plaintext: *mut CK_BYTE,
        plaintext_length: *mut CK_ULONG,
    ) {
        let (module, buffer) = (module()?, Buffer::new(plaintext, plaintext_length)?);
        buffer.put(module.decrypt(session, bytes(ciphertext, length)?, buffer.room)?)
    }

    fn C_DigestInit(session: CK_SESSION_HANDLE, chosen: *mut CK_MECHANISM) {
        let module = module()?;
        module.digest_init(session, mechanism(chosen)?)
    }

    fn C_Digest(
        session: CK_SESSION_HANDLE,
        data: *mut CK_BYTE,
        length: CK_ULONG,
        digest: *mut CK_BYTE,
        digest_length: *mut CK_ULONG,
    ) {
        let (module, buffer) = (module()?, Buffer::new(digest, digest_length)?);
        buffer.put(module.digest(session, bytes(data, length)?, buffer.room)?)
    }

    fn C_DigestUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, length: CK_ULONG) {
        let module = module()?;
        module.digest_update(session, bytes(data, length)?)
    }

    fn C_DigestFinal(
        session: CK_SESSION_HANDLE,
        digest: *mut CK_BYTE,
        digest_length: *mut CK_ULONG,
    ) {
        let (module, buffer) = (module()?, Buffer::new(digest, digest_length)?);
        buffer.put(module.digest_final(session, buffer.room)?)
    }

    fn C_GenerateKeyPair(
        session: CK_SESSION_HANDLE,
        chosen: *mut CK_MECHANISM,
        public: *mut CK_ATTRIBUTE,
        public_count: CK_ULONG,
        private: *mut CK_ATTRIBUTE,
        private_count: CK_ULONG,
        public_key: *mut CK_OBJECT_HANDLE,
        private_key: *mut CK_OBJECT_HANDLE,
    ) {
        let module = module()?;
        let places = (Place::at(public_key)?, Place::at(private_key)?);
        let chosen = mechanism(chosen)?.ok_or(Rv(CKR_ARGUMENTS_BAD))?;
        let public = template(public, public_count)?;
        let private = template(private, private_count)?;
        let handles = module.generate_pair(session, &chosen, &public, &private)?;
        places.0.put(handles.0);
        places.1.put(handles.1);
        Ok(())
    }

    fn C_DeriveKey(
        session: CK_SESSION_HANDLE,
        chosen: *mut CK_MECHANISM,
        base: CK_OBJECT_HANDLE,
        attributes: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
        key: *mut CK_OBJECT_HANDLE,
    ) {
        let (module, place) = (module()?, Place::at(key)?);
        let chosen = mechanism(chosen)?.ok_or(Rv(CKR_ARGUMENTS_BAD))?;
        place.put(module.derive(session, &chosen, base, &template(attributes, count)?)?);
        Ok(())
    }

    fn C_SeedRandom(session: CK_SESSION_HANDLE, seed: *mut CK_BYTE, length: CK_ULONG) {
        let module = module()?;
        bytes(seed, length)?;
        module.session_info(session)?;
        fail(CKR_RANDOM_SEED_NOT_SUPPORTED)
    }

    fn C_GenerateRandom(session: CK_SESSION_HANDLE, random: *mut CK_BYTE, length: CK_ULONG) {
        let module = module()?;
        let length = bytes(random, length)?.len();
        let drawn = module.random(session, length)?;
        random.copy_from(drawn.as_ptr(), drawn.len());
        Ok(())
    }
}

//! Key pairs, which the chip makes and keeps, and secrets that it agrees on.

use std::sync::Arc;

use cryptoki_sys::*;
use zeroize::Zeroizing;

use crate::agent::NewKey;
use crate::der;
use crate::finding::names;
use crate::key::{Curve, Family, NO_LABEL};
use crate::mechanism::{Mechanism, Parameter};
use crate::module::Module;
use crate::object::{Object, Secret};
use crate::rv::{Result, Rv, fail};
use crate::template::Template;

const EXPONENT: &[u8] = &[1, 0, 1];

impl Module {
    /// Makes a key pair in the chip; the handles of its public and its private half.
    pub(crate) fn generate_pair(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Mechanism<'_>,
        public: &Template<'_>,
        private: &Template<'_>,
    ) -> Result<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let is_read_write = self.tables().session(session)?.is_read_write;
        mechanism.is_for(CKF_GENERATE_KEY_PAIR)?;
        mechanism.without_parameter()?;
        let (kind, algorithm) = match mechanism.kind {
            CKM_EC_KEY_PAIR_GEN => (CKK_EC, ec_algorithm(public)?),
            _ => (CKK_RSA, rsa_algorithm(public)?),
        };
        check_halves(kind, public, private)?;
        if !is_read_write {
            return fail(CKR_SESSION_READ_ONLY);
        }
        let uses = uses(kind, public, private)?;
        let (id, label) = names(private)?;
        let (other_id, other_label) = names(public)?;
        let new = NewKey {
            label: label.or(other_label).filter(|label| !label.is_empty()).unwrap_or(NO_LABEL),
            algorithm,
            uses: &uses,
            id: id.or(other_id).unwrap_or_default(),
        };
        let path = self.agent.create_key(&new)?;
        let key = self.agent.key(&path)?;
        let (private, public) = self.tables().know_key(key);
        Ok((public, private))
    }

    /// Agrees with a peer's public key; the secret is an object of the session.
    pub(crate) fn derive(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Mechanism<'_>,
        key: CK_OBJECT_HANDLE,
        template: &Template<'_>,
    ) -> Result<CK_OBJECT_HANDLE> {
        let key = {
            let mut tables = self.tables();
            tables.session(session)?;
            mechanism.is_for(CKF_DERIVE)?;
            tables.private_key(key)?
        };
        let Family::Ec(curve) = key.family() else {
            return fail(CKR_KEY_TYPE_INCONSISTENT);
        };
        if !key.uses.agree {
            return fail(CKR_KEY_FUNCTION_NOT_PERMITTED);
        }
        let mut secret = secret(session, template)?;
        let length = secret_bytes(template, secret.kind, curve)?;
        let agreed = self.agent.agree(&key.path, peer(mechanism, curve)?)?;
        // A shorter key is made of the last bytes (PKCS #11 mechanisms 2.40, section 2.3.7).
        let cut = agreed.len().checked_sub(length).and_then(|start| agreed.get(start..));
        secret.value = Zeroizing::new(cut.ok_or(Rv(CKR_DEVICE_ERROR))?.to_vec());
        let mut tables = self.tables();
        tables.session(session)?;
        Ok(tables.put(Object::Secret(Arc::new(secret))))
    }
}

fn ec_algorithm(public: &Template<'_>) -> Result<&'static str> {
    let parameters = public.bytes(CKA_EC_PARAMS).ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))?;
    match Curve::of_parameters(parameters) {
        Some(Curve::P256) => Ok("ecc-p256"),
        Some(Curve::P384) => Ok("ecc-p384"),
        None => fail(CKR_CURVE_NOT_SUPPORTED),
    }
}

fn rsa_algorithm(public: &Template<'_>) -> Result<&'static str> {
    if public.bytes(CKA_PUBLIC_EXPONENT).is_some_and(|e| der::trimmed(e) != EXPONENT) {
        return fail(CKR_ATTRIBUTE_VALUE_INVALID);
    }
    match public.number(CKA_MODULUS_BITS)? {
        Some(2048) => Ok("rsa-2048"),
        Some(3072) => Ok("rsa-3072"),
        Some(_) => fail(CKR_KEY_SIZE_RANGE),
        None => fail(CKR_TEMPLATE_INCOMPLETE),
    }
}

/// Refuses what the chip does not make: keys that can leave it or end with the session.
fn check_halves(kind: CK_KEY_TYPE, public: &Template<'_>, private: &Template<'_>) -> Result<()> {
    for (half, class) in [(public, CKO_PUBLIC_KEY), (private, CKO_PRIVATE_KEY)] {
        let is_other = |given: Option<CK_ULONG>, own| given.is_some_and(|given| given != own);
        if is_other(half.number(CKA_CLASS)?, class) || is_other(half.number(CKA_KEY_TYPE)?, kind) {
            return fail(CKR_TEMPLATE_INCONSISTENT);
        }
    }
    private.allows(CKA_EXTRACTABLE, false)?;
    private.allows(CKA_SENSITIVE, true)?;
    private.allows(CKA_ALWAYS_AUTHENTICATE, false)?;
    match private.flag(CKA_TOKEN)? {
        Some(true) => Ok(()),
        _ => fail(CKR_TEMPLATE_INCONSISTENT),
    }
}

/// What either half is said to do; where nothing is said, to sign.
fn uses(
    kind: CK_KEY_TYPE,
    public: &Template<'_>,
    private: &Template<'_>,
) -> Result<Vec<&'static str>> {
    let either = |of_private, of_public| -> Result<bool> {
        Ok(private.flag(of_private)? == Some(true) || public.flag(of_public)? == Some(true))
    };
    let mut uses = Vec::new();
    if either(CKA_SIGN, CKA_VERIFY)? {
        uses.push("sign");
    }
    match kind {
        CKK_EC if either(CKA_DERIVE, CKA_DERIVE)? => uses.push("agree"),
        CKK_RSA if either(CKA_DECRYPT, CKA_ENCRYPT)? => uses.push("decrypt"),
        _ => {}
    }
    if uses.is_empty() {
        uses.push("sign");
    }
    Ok(uses)
}

/// The peer's point, given as it is or as an OCTET STRING.
fn peer<'a>(mechanism: &'a Mechanism<'_>, curve: Curve) -> Result<&'a [u8]> {
    let Parameter::Ecdh { kdf: CKD_NULL, shared: [], public } = &mechanism.parameter else {
        return fail(CKR_MECHANISM_PARAM_INVALID);
    };
    let point = match public.len() == 2 * curve.bytes() + 1 {
        true => Some(*public),
        false => der::only(der::OCTET_STRING, public),
    };
    match point {
        Some(point @ [4, xy @ ..]) if xy.len() == 2 * curve.bytes() => Ok(point),
        _ => fail(CKR_MECHANISM_PARAM_INVALID),
    }
}

/// A secret of this template, still without its value.
fn secret(session: CK_SESSION_HANDLE, template: &Template<'_>) -> Result<Secret> {
    if template.number(CKA_CLASS)?.is_some_and(|class| class != CKO_SECRET_KEY) {
        return fail(CKR_TEMPLATE_INCONSISTENT);
    }
    let kind = template.number(CKA_KEY_TYPE)?.unwrap_or(CKK_GENERIC_SECRET);
    if ![CKK_GENERIC_SECRET, CKK_AES].contains(&kind) {
        return fail(CKR_TEMPLATE_INCONSISTENT);
    }
    // The process computes with it, and the chip forgets it.
    template.allows(CKA_TOKEN, false)?;
    let (id, label) = names(template)?;
    Ok(Secret {
        value: Zeroizing::default(),
        kind,
        id: id.unwrap_or_default().to_vec(),
        label: label.unwrap_or_default().to_owned(),
        is_sensitive: template.flag(CKA_SENSITIVE)?.unwrap_or(false),
        is_extractable: template.flag(CKA_EXTRACTABLE)?.unwrap_or(true),
        session,
    })
}

fn secret_bytes(template: &Template<'_>, kind: CK_KEY_TYPE, curve: Curve) -> Result<usize> {
    let wanted = template.number(CKA_VALUE_LEN)?.unwrap_or(0);
    let length = match usize::try_from(wanted) {
        Ok(0) => curve.bytes(),
        Ok(length) if length <= curve.bytes() => length,
        _ => return fail(CKR_KEY_SIZE_RANGE),
    };
    match kind == CKK_AES && ![16, 24, 32].contains(&length) {
        true => fail(CKR_KEY_SIZE_RANGE),
        false => Ok(length),
    }
}

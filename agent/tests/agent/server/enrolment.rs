//! Claims, activations, confirmations.

use super::*;

impl Server {
    pub(super) fn claim(&mut self, m1: &[u8]) -> Reply {
        let opening = ClaimOpening::begin(m1, self.signing.public(), NOW)?;
        let m0_hash = opening.m0_hash();
        let z = self.encryption.agree(opening.ephemeral())?;
        let claim = opening.finish(&z, &self.keys.server_id())?;
        let keys = self.verify(&claim, &m0_hash)?;
        self.check_re_enrolment(&claim, &m0_hash, &keys)?;
        let mut secret = [0; 32];
        OsRng.fill_bytes(&mut secret);
        self.secrets.push(secret.to_vec());
        let credential = make_credential(&keys.ek, &keys.ak_name, &secret, &mut OsRng)?;
        let mut enrol_id = EnrolId([0; 16]);
        OsRng.fill_bytes(&mut enrol_id.0);
        let activation = Activation {
            enrol_id,
            credential_blob: credential.credential_blob,
            encrypted_secret: credential.encrypted_secret,
        };
        let m2 = sign!(self.signing, activation.unsigned(m1))?;
        let proof = ActivationProof::new(enrol_id, &Secret::new(secret), &m0_hash, m1, &m2);
        let hashes = vec![m0_hash, sha256(m1), sha256(&m2)];
        let ak_public = tpm(&claim)?.keys.ak_public.clone();
        let enrolling = Enrolling { hashes, proof, keys, ak_public, chain: None, mac: [0; 32] };
        self.enrolling.insert(enrol_id, enrolling);
        Ok(m2)
    }

    fn verify(&self, claim: &Claim, m0_hash: &[u8; 32]) -> Result<VerifiedDeviceKeys, Reason> {
        let keys = &tpm(claim)?.keys;
        let claims = DeviceKeyClaims {
            ek_public: &keys.ek_public,
            srk_public: &keys.srk_public,
            ak_public: &keys.ak_public,
            signing_public: &keys.signing.public,
            decryption_public: &keys.decryption.public,
            serial_public: &keys.serial.public,
            certify_signing: word(&keys.signing),
            certify_decryption: word(&keys.decryption),
            certify_serial: word(&keys.serial),
        };
        let server_id = self.keys.server_id();
        verify_device_keys(&claims, |role, ak, name| {
            let (ak, name) = (ak.as_bytes(), name.as_bytes());
            certify_extra_data(role, m0_hash, &server_id, &claim.serial, ak, name)
        })
    }

    fn check_re_enrolment(
        &self,
        claim: &Claim,
        m0_hash: &[u8; 32],
        keys: &VerifiedDeviceKeys,
    ) -> Result<(), Reason> {
        let Some(device) = &self.device else { return Ok(()) };
        let Some(again) = &claim.re_enrolment else { return Err(Reason::BadReEnrolment) };
        let bond = &device.bond;
        let (device_id, generation) = (&bond.device_id, bond.generation);
        let ak_name = keys.ak_name.as_bytes();
        let expected = re_enrolment_proof(
            bond.signing.algorithm(),
            m0_hash,
            device_id,
            generation,
            &bond.serial,
            ak_name,
        );
        verify_re_enrolment_proof(&again.proof, &bond.signing, &expected)
    }

    pub(super) fn activate(&mut self, m3: &[u8]) -> Reply {
        let proof = ActivationProof::decode(m3)?;
        let enrolling = self.enrolling.get_mut(&proof.enrol_id).ok_or(Reason::WrongTranscript)?;
        proof.verify(&enrolling.proof)?;
        let (device_id, generation) = match &self.device {
            Some(device) => (device.bond.device_id, device.bond.generation + 1),
            None => (DeviceId([0xd; 16]), 1),
        };
        let serial = enrolling.keys.ek.serial();
        let (server_id, key) = (self.keys.server_id(), &enrolling.keys.serial);
        let key = DecryptionPublic::EcdhEs(key.clone());
        let (offer, secrets) =
            Offer::draw(&proof, device_id, generation, &server_id, &serial, &key, &mut OsRng)?;
        let m4 = sign!(self.signing, offer.unsigned(m3))?;
        enrolling.hashes.extend([sha256(m3), sha256(&m4)]);
        let hashes = enrolling.hashes.clone().try_into().unwrap();
        enrolling.mac = ConfirmationKey::new(&secrets.chain).confirm(&hashes);
        self.secrets.push(secrets.chain.key().expose().to_vec());
        enrolling.chain = Some((offer, secrets.chain));
        Ok(m4)
    }

    pub(super) fn confirm(&mut self, m5: &[u8]) -> Reply {
        let enrolling =
            self.enrolling.get(&Confirmation::route(m5)?).ok_or(Reason::WrongTranscript)?;
        let keys = &enrolling.keys;
        let (signing, decryption) = (keys.signing.key.clone(), keys.decryption.key.clone());
        Confirmation::verify(m5, &signing, &enrolling.mac)?;
        let (offer, chain) = enrolling.chain.clone().ok_or(Reason::WrongTranscript)?;
        let serial = keys.ek.serial();
        let grant = Grant {
            enrol_id: offer.enrol_id,
            server_id: self.keys.server_id(),
            device_id: offer.device_id,
            serial,
            generation: offer.generation,
            standing: self.standing,
            key_ids: [signing.id(), decryption.id(), keys.serial.id()],
            assurance: "tpm-ek".to_owned(),
        };
        let unsigned = grant.unsigned();
        let signature = self.signing.sign(unsigned.to_sign())?;
        let sealed = grant.seal(&signature, &GrantKey::new(&chain), m5, &mut OsRng)?;
        let is_new = self.device.as_ref().is_none_or(|d| d.bond.generation < offer.generation);
        if self.standing == Standing::Active && is_new {
            let bond = Bond {
                server_id: self.keys.server_id(),
                device_id: offer.device_id,
                serial,
                generation: offer.generation,
                keyset: 1,
                signing,
                decryption,
            };
            let old = self.device.take();
            self.device = Some(Device {
                bond,
                ak_public: enrolling.ak_public.clone(),
                srk_name: keys.srk_name.clone(),
                signing_name: keys.signing.name.clone(),
                chain,
                chain_keys: vec![],
                epochs: BTreeMap::new(),
                accepted: HashSet::new(),
                trades: old.map(|device| device.trades).unwrap_or_default(),
                downlinks: VecDeque::new(),
                sealed: None,
                sent_down: vec![],
                down_seq: 0,
                is_deaf: false,
                expected: None,
            });
        }
        Ok(sealed)
    }
}

fn word(key: &ClaimedKey) -> Certification<'_> {
    Certification { attest: &key.attest, signature: &key.signature }
}

fn tpm(claim: &Claim) -> Result<&ClaimedTpm, Reason> {
    match &claim.hardware {
        ClaimedHardware::Tpm(tpm) => Ok(tpm),
        ClaimedHardware::Token(_) => Err(Reason::TokenNotAccepted),
    }
}

//! Epoch-opens: a device has started again (docs/scheme.md section 5).

use std::sync::Arc;

use rand_core::OsRng;
use twinseal_scheme::Reason;
use twinseal_scheme::answer::Answer;
use twinseal_scheme::enrol::DeviceState;
use twinseal_scheme::epoch::judge::{self, Opening, OpeningArrival};
use twinseal_scheme::epoch::{
    ChainKey, ClosedEpoch, EpochKeys, EpochOpen, EpochSecret, VerifiedEpochOpen,
};
use twinseal_scheme::message::Envelope;
use twinseal_scheme::tpm::{ClockInfo, verify_epoch_attest};

use super::bells::Bell;
use super::epochs::{keys_of, secret, secret_of};
use super::receive::Request;
use super::{App, Error};
use crate::keys::ServerSecrets;
use crate::store::{Agreement, Caller, Entry, Epoch, Standing, Tx};

/// An epoch-open that was taken apart and believed, with what follows from it.
struct Opened {
    chain: ChainKey,
    keys: EpochKeys,
    agreement: Agreement,
    clock: Option<ClockInfo>,
    /// The upward key of the epoch before, wrapped.
    last_upward: Option<Vec<u8>>,
}

impl App {
    /// Judges an epoch-open, opens the epoch, or says to the device why not.
    pub(super) async fn open_epoch(&self, request: &Request<'_>) -> Result<Vec<u8>, Error> {
        let (standing, envelope) = (&request.standing, &request.envelope);
        let number = envelope.route.epoch;
        let (last, known, chain) = self.history(standing, number).await?;
        let last_number = last.as_ref().map(|last| last.opening.epoch);
        let known_hash = known.as_ref().map(|known| known.opening.hash);
        let arrival = judge::opening_arrival(number, last_number, known_hash, envelope.hash);
        if let (Ok(OpeningArrival::StoredAnswer), Some(known)) = (arrival, known) {
            return Ok(known.answer);
        }
        let (bond, of) = (standing.bond.clone(), envelope.clone());
        let verify = move || VerifiedEpochOpen::verify(&bond, &of).map(drop);
        self.compute(verify).await?.map_err(Error::Hidden)?;
        // The signing key has signed this: its owner is told what follows.
        if let Some(answer) = self.refusal(standing, envelope.route.sequence)? {
            return self.signed_answer(&answer, request);
        }
        if let Err(reason) = arrival {
            return self.refuse_opening(request, reason).await;
        }
        let chain = chain.ok_or(Error::Hidden(Reason::DeviceUnknown))?;
        let opened = self.believe(standing, envelope, chain, last.clone()).await;
        let opened = match opened {
            Ok(opened) => opened,
            Err(Error::Refused(reason)) => return self.refuse_opening(request, reason).await,
            Err(Error::Hidden(reason)) => {
                // The right key, and another chip: whoever has it is told nothing.
                self.alarm(&standing.bond.device_id, reason).await?;
                return Err(Error::Hidden(reason));
            }
            Err(error) => return Err(error),
        };
        let opening = Opening { epoch: number, hash: envelope.hash, clock: opened.clock };
        if let Err(reason) = judge::opening(&opening, last.as_ref().map(|last| &last.opening)) {
            return self.refuse_opening(request, reason).await;
        }
        self.store_epoch(request, opening, opened, last_number).await
    }

    async fn history(
        &self,
        standing: &Standing,
        number: u64,
    ) -> Result<(Option<Epoch>, Option<Epoch>, Option<ChainKey>), Error> {
        let (device, generation) = (standing.bond.device_id, standing.bond.generation);
        let mut tx: Tx<'_> = self.store.read().await?;
        let last = tx.last_epoch(&device, generation).await?;
        let known = tx.epoch(&device, generation, number).await?;
        Ok((last, known, tx.chain(&device, generation).await?))
    }

    /// Walks the ratchet, opens the serial layer, and verifies the attest.
    ///
    /// [`Error::Hidden`] as long as only the signing key is proven, [`Error::Refused`] when the
    /// chip is.
    async fn believe(
        &self,
        standing: &Standing,
        envelope: &Envelope,
        chain: ChainKey,
        last: Option<Epoch>,
    ) -> Result<Opened, Error> {
        let (secrets, standing, envelope) =
            (self.secrets.clone(), standing.clone(), envelope.clone());
        self.compute(move || {
            let next = chain.ratchet(envelope.route.epoch)?;
            let open = VerifiedEpochOpen::verify(&standing.bond, &envelope)
                .and_then(|verified| verified.open(&next))
                .map_err(Error::Hidden)?;
            let clock = attested_clock(&standing, &envelope, &open)?;
            let agreement = Agreement {
                epoch_key: open.epoch_key.point().to_vec(),
                kem: open.kem_ciphertext,
                p256_id: open.p256_id,
                kem_id: open.kem_id,
            };
            let z = secret(&secrets, &agreement, &envelope.hash)?;
            let keys = EpochKeys::new(&next, &z, envelope.route.sequence, envelope.hash);
            let last_upward = last.map(|last| wrapped(&secrets, &last, &chain)).transpose()?;
            Ok(Opened { chain: next, keys, agreement, clock, last_upward })
        })
        .await?
    }

    async fn store_epoch(
        &self,
        request: &Request<'_>,
        opening: Opening,
        opened: Opened,
        last_number: Option<u64>,
    ) -> Result<Vec<u8>, Error> {
        let bond = &request.standing.bond;
        let (device, generation) = (bond.device_id, bond.generation);
        let answer = Answer::Accepted.seal(&opened.keys.answer_key(), request.bytes, &mut OsRng)?;
        let epoch = Epoch {
            opening,
            sequence: request.envelope.route.sequence,
            agreement: Some(opened.agreement),
            upward: None,
            answer: answer.clone(),
        };
        let mut write = self.store.write(&Caller::Device(device)).await?;
        self.check_unchanged(&mut write, &request.standing).await?;
        let last = write.last_epoch(&device, generation).await?;
        if last.map(|last| last.opening.epoch) != last_number {
            return Err(Error::Busy);
        }
        let (chain, upward) = (&opened.chain, opened.last_upward);
        write.open_epoch(&device, generation, chain, &epoch, upward).await?;
        let subject = format!("epoch {}", epoch.opening.epoch);
        write.commit(Entry::of("epoch.open", device, subject)).await?;
        self.epochs.remember(&device, generation, &Arc::new(opened.keys));
        self.bells.ring(Bell::Down(device));
        Ok(answer)
    }

    /// Refuses, with the consequences that the reason has.
    async fn refuse_opening(
        &self,
        request: &Request<'_>,
        reason: Reason,
    ) -> Result<Vec<u8>, Error> {
        let device = request.standing.bond.device_id;
        tracing::warn!(%device, reason = reason.code(), "epoch-open refused");
        let quarantine = matches!(reason, Reason::EpochClone | Reason::EpochRollback);
        if quarantine {
            let mut write = self.store.write(&Caller::Device(device)).await?;
            self.check_unchanged(&mut write, &request.standing).await?;
            write.set_state(&device, DeviceState::Quarantined).await?;
            write.set_alarm(&device, reason.code()).await?;
            write.commit(Entry::of("device.quarantine", device, reason.code())).await?;
            return self.signed_answer(&Answer::Quarantined, request);
        }
        // An overtaken one happens to honest devices: a late copy of one that was dropped.
        if reason != Reason::EpochOvertaken {
            self.alarm(&device, reason).await?;
        }
        self.signed_answer(&Answer::Refused(reason.code().to_owned()), request)
    }
}

/// The chip's clock, when the attest is about this very epoch. A token has none.
fn attested_clock(
    standing: &Standing,
    envelope: &Envelope,
    open: &EpochOpen,
) -> Result<Option<ClockInfo>, Reason> {
    let Some(attester) = &standing.attester else { return Ok(None) };
    let certification = open.certification()?;
    let route = &envelope.route;
    let extra_data = open.extra_data(&standing.bond, route.sequence, route.epoch);
    let state = verify_epoch_attest(
        &attester.ak_public,
        &attester.srk_name,
        &attester.signing_name,
        certification,
        &extra_data,
    )?;
    Ok(Some(state.clock))
}

/// What is kept of the epoch that ends; `chain` stands at it.
fn wrapped(secrets: &ServerSecrets, last: &Epoch, chain: &ChainKey) -> Result<Vec<u8>, Reason> {
    let z: EpochSecret = secret_of(secrets, last)?;
    let keys = keys_of(secrets, last, chain).map_err(|_| Reason::EpochClosed)?;
    ClosedEpoch::wrap(&keys, &z, &mut OsRng)
}

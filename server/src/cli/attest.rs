//! `twinseal-server attest`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use twinseal_scheme::tpm::PublicKey;

use super::Common;
use super::output::{Failure, Output};
use crate::app::Attested;

#[derive(Subcommand)]
pub(super) enum Attest {
    /// Verify that an application's key lives in the chip of a device enrolled here
    Verify {
        /// What `twinseal key attest` wrote
        file: PathBuf,
        /// The nonce that it was asked for, hexadecimal: yours, and used once
        #[arg(long, value_name = "HEX")]
        nonce: String,
        /// Write the key (SubjectPublicKeyInfo, DER) to this file
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
    },
}

impl Attest {
    pub(super) async fn run(self, common: &Common) -> Result<Output, Failure> {
        let Attest::Verify { file, nonce, public_key } = self;
        let failed = |file: &PathBuf, error: std::io::Error| {
            let text = format!("{}: {error}", file.display());
            Failure::new("file", text, "Check the file and its name.")
        };
        let bytes = std::fs::read(&file).map_err(|error| failed(&file, error))?;
        let nonce = unhex(&nonce).ok_or_else(|| {
            Failure::new("nonce", "the nonce is not hexadecimal", "Correct the command line.")
        })?;
        let attested = common.app().await?.verify_attestation(&bytes, &nonce).await?;
        if let Some(file) = public_key {
            std::fs::write(&file, attested.key.spki()).map_err(|error| failed(&file, error))?;
        }
        Ok(shown(&attested))
    }
}

fn shown(Attested { device, key }: &Attested) -> Output {
    let algorithm = algorithm(&key.key);
    let uses = match (key.signs, key.decrypts) {
        (true, true) => "signs, and decrypts or agrees",
        (true, false) => "signs",
        (false, _) => "decrypts or agrees",
    };
    let spki: String = key.spki().iter().map(|byte| format!("{byte:02x}")).collect();
    let (state, assurance) = (device.state.word(), &device.assurance);
    let text = format!(
        "The key lives in the chip of device {}\ndevice     {state}, {assurance}\nkey        {algorithm}, {uses}\npublic key {spki}",
        device.id
    );
    let json = json!({
        "device": device.id.to_string(), "state": state, "assurance": assurance,
        "algorithm": algorithm, "signs": key.signs, "decrypts": key.decrypts, "public_key": spki,
        "firmware_version": key.chip.firmware_version,
    });
    Output::new(text, json)
}

fn algorithm(key: &PublicKey) -> String {
    match (key.point(), key.modulus()) {
        (Some((curve, _)), _) => format!("ecc-p{}", curve.field_len() * 8),
        (_, modulus) => format!("rsa-{}", modulus.unwrap_or_default().len() * 8),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(byte).collect()
}

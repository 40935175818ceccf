//! `twinseal-server ek-roots`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::Common;
use super::output::{Failure, Output};
use crate::app::Error;

#[derive(Subcommand)]
pub(super) enum EkRoots {
    /// Trust the certificates in files, PEM or DER, as roots of EK certificates
    Add {
        /// Files with certificates
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Do not trust them by themselves: they are intermediate ones that chips do not carry
        #[arg(long)]
        intermediate: bool,
    },
    /// List them
    List,
}

impl EkRoots {
    pub(super) async fn run(self, common: &Common) -> Result<Output, Failure> {
        let app = common.app().await?;
        match self {
            EkRoots::Add { files, intermediate } => {
                let certificates = files.iter().map(|file| read(file));
                let mut ids = vec![];
                for der in certificates.collect::<Result<Vec<_>, _>>()?.concat() {
                    let caller = common.caller();
                    ids.push(app.add_ek_certificate(&caller, &der, !intermediate).await?);
                }
                let kind = if intermediate { "intermediate" } else { "root" };
                Ok(Output::new(
                    format!("Added {} as {kind}", ids.join("\n      ")),
                    json!({ "added": ids, "kind": kind }),
                ))
            }
            EkRoots::List => {
                let certificates =
                    app.store.read().await.map_err(Error::from)?.ek_certificates().await;
                let rows = certificates.map_err(Error::from)?.into_iter().map(|certificate| {
                    let (id, kind) = (certificate.id, certificate.kind);
                    let json = json!({ "id": id, "kind": kind, "added_at": certificate.added_at });
                    (format!("{id}  {kind}"), json)
                });
                let none = "None: only listed serials can enrol. Add one with \
                            `twinseal-server ek-roots add FILE`.";
                Ok(Output::list("ek_roots", none, rows.collect()))
            }
        }
    }
}

/// All certificates of a file.
fn read(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let wrong = |message: String| {
        let message = format!("{}: {message}", path.display());
        Failure::new("certificate", message, "Give a file with certificates in PEM or DER.")
    };
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    if !bytes.starts_with(b"-----") && bytes.first() == Some(&0x30) {
        return Ok(vec![bytes]);
    }
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .map(|certificate| certificate.map(|certificate| certificate.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    match certificates.is_empty() {
        true => Err(wrong("no certificate in it".to_owned())),
        false => Ok(certificates),
    }
}

//! What keeps a device's keys: a TPM or a token.

use std::path::Path;

use crate::softhsm::SoftHsm;
use crate::swtpm::Swtpm;

#[derive(Debug)]
pub(crate) enum Chip {
    Tpm(Box<Swtpm>),
    Token(SoftHsm),
}

impl Chip {
    /// The lines of the agent's configuration that say where it is: by another TCTI or module
    /// than its own, where one is given, and which keys a TPM makes.
    pub(crate) fn address(
        &self,
        tcti: Option<String>,
        keys: Option<String>,
        module: Option<&Path>,
    ) -> String {
        match self {
            Chip::Tpm(chip) => {
                let prefer = keys.map(|keys| format!("prefer = {keys:?}\n")).unwrap_or_default();
                format!("tcti = {:?}\n{prefer}", tcti.unwrap_or_else(|| chip.tcti()))
            }
            Chip::Token(token) => {
                let uri = token.uri_by(module.unwrap_or(token.module()));
                format!("token = {uri:?}\npin_file = {:?}\n", token.pin_file())
            }
        }
    }
}

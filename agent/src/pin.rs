//! The PIN of a token: out of a file that nobody else can read, and nowhere else.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use twinseal_hardware::AuthValue;
use zeroize::Zeroizing;

use crate::{Error, Kind};

/// The name of the systemd credential.
const CREDENTIAL: &str = "token-pin";

/// Reads the file, or the credential where there is none. A line feed at its end is not the PIN's.
pub(crate) fn read(file: Option<&Path>) -> Result<AuthValue, Error> {
    let credential = || std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let file = match file {
        Some(file) => file.to_owned(),
        None => credential().map(|folder| folder.join(CREDENTIAL)).ok_or_else(|| {
            Error::new(Kind::InvalidArgument, "there is neither a pin_file nor a credential")
                .and("set hardware.pin_file, or give the service the credential `token-pin`")
        })?,
    };
    let unusable = |why: &dyn std::fmt::Display| {
        Error::new(Kind::InvalidArgument, format!("{} cannot be used: {why}", file.display()))
            .and("correct hardware.pin_file or the file")
    };
    let open = File::open(&file).map_err(|e| unusable(&e))?;
    let about = open.metadata().map_err(|e| unusable(&e))?;
    if !about.is_file() || about.mode() & 0o077 != 0 {
        return Err(unusable(&"it must be a file and its owner's alone (mode 0600)"));
    }
    let mut pin = Zeroizing::new(Vec::with_capacity(128));
    open.take(66).read_to_end(&mut pin).map_err(|e| unusable(&e))?;
    if pin.last() == Some(&b'\n') {
        pin.pop();
    }
    match pin.is_empty() {
        true => Err(unusable(&"it is empty")),
        false => AuthValue::new(pin.to_vec()).map_err(|e| unusable(&e)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_pin_is_read_from_a_file_of_ones_own_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pin");
        let with = |text: &str, mode: u32| {
            std::fs::write(&file, text).unwrap();
            set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            read(Some(&file))
        };
        assert_eq!(with("12 34\n", 0o600).unwrap().expose(), b"12 34");
        assert_eq!(with("1234", 0o400).unwrap().expose(), b"1234");
        for (text, mode) in [("1234", 0o640), ("1234", 0o604), ("\n", 0o600), ("", 0o600)] {
            let error = with(text, mode).unwrap_err();
            assert_eq!(error.kind, Kind::InvalidArgument);
            assert!(error.to_string().contains("pin_file"), "{error}");
            assert!(!error.to_string().contains("1234"), "{error}");
        }
        assert!(with(&"1".repeat(65), 0o600).is_err());
        assert!(read(Some(folder.path())).is_err(), "a folder");
    }
}

//! The PIN of a token: out of a file that nobody else can read, or through a pipe from who was
//! asked for it, and nowhere else.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::timeout;
use twinseal_hardware::AuthValue;
use zeroize::Zeroizing;

use crate::{Error, Kind};

/// The name of the systemd credential.
const CREDENTIAL: &str = "token-pin";

/// One byte more than the longest PIN and a line feed.
const ENOUGH: u64 = 66;

/// How long who gives a PIN may take to write it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads the file, or the credential where none is named. `None` where there is neither: then it
/// is asked for.
pub(crate) fn read(file: Option<&Path>) -> Result<Option<AuthValue>, Error> {
    if let Some(file) = file {
        return read_file(file).map(Some);
    }
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let credential = folder.map(|folder| folder.join(CREDENTIAL)).filter(|file| file.exists());
    credential.map(|file| read_file(&file)).transpose()
}

/// Reads what somebody has put into a pipe, until its other end is closed.
pub(crate) async fn receive(from: OwnedFd) -> Result<AuthValue, Error> {
    let unusable = |why: &dyn std::fmt::Display| {
        Error::new(Kind::InvalidArgument, format!("there is no PIN in the pipe ({why})"))
            .and("write it, close that end, and pass the other")
    };
    let pipe = pipe::Receiver::from_owned_fd(from).map_err(|e| unusable(&e))?;
    let mut pin = Zeroizing::new(Vec::with_capacity(128));
    let mut pipe = pipe.take(ENOUGH);
    let reading = timeout(PATIENCE, pipe.read_to_end(&mut pin)).await;
    reading.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|e| unusable(&e))?;
    value(pin).map_err(|e| unusable(&e))
}

fn read_file(file: &Path) -> Result<AuthValue, Error> {
    let unusable = |why: &dyn std::fmt::Display| {
        Error::new(Kind::InvalidArgument, format!("{} cannot be used: {why}", file.display()))
            .and("correct hardware.pin_file or the file")
    };
    let open = File::open(file).map_err(|e| unusable(&e))?;
    let about = open.metadata().map_err(|e| unusable(&e))?;
    if !about.is_file() || about.mode() & 0o077 != 0 {
        return Err(unusable(&"it must be a file and its owner's alone (mode 0600)"));
    }
    let mut pin = Zeroizing::new(Vec::with_capacity(128));
    open.take(ENOUGH).read_to_end(&mut pin).map_err(|e| unusable(&e))?;
    value(pin).map_err(|e| unusable(&e))
}

/// A line feed at its end is not the PIN's.
fn value(mut pin: Zeroizing<Vec<u8>>) -> Result<AuthValue, String> {
    if pin.last() == Some(&b'\n') {
        pin.pop();
    }
    match pin.is_empty() {
        true => Err("it is empty".to_owned()),
        false => AuthValue::new(pin.to_vec()).map_err(|e| e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_pin_is_read_from_a_file_of_ones_own_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pin");
        let with = |text: &str, mode: u32| {
            std::fs::write(&file, text).unwrap();
            set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            read(Some(&file)).map(Option::unwrap)
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
        assert!(read(None).unwrap().is_none(), "it is asked for");
    }

    #[tokio::test]
    async fn a_pin_comes_through_a_pipe_that_is_closed() {
        let given = async |bytes: &[u8]| {
            let (reader, mut writer) = io::pipe().unwrap();
            writer.write_all(bytes).unwrap();
            drop(writer);
            receive(reader.into()).await
        };
        assert_eq!(given(b"12 34\n").await.unwrap().expose(), b"12 34");
        assert_eq!(given(&[b'1'; 64]).await.unwrap().expose(), [b'1'; 64]);
        for bytes in [&b""[..], b"\n", &[b'1'; 65]] {
            assert_eq!(given(bytes).await.unwrap_err().kind, Kind::InvalidArgument);
        }
        let (reader, writer) = io::pipe().unwrap();
        let error = receive(reader.into()).await.unwrap_err();
        assert!(error.to_string().contains("timed out"), "nobody waits for ever: {error}");
        drop(writer);
        assert!(receive(File::open("/dev/zero").unwrap().into()).await.is_err(), "no pipe");
    }
}

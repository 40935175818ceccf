//! Who is calling, and what he may do. Everything that is not allowed is refused.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use twinseal_scheme::trade::Service;

use crate::{Config, Error, Kind};

/// Who is calling, as the bus recorded it, never as the caller says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group ids, the primary one among them.
    pub gids: Vec<u32>,
    /// The connection's unique name on the bus.
    pub connection: String,
}

/// The operator's decisions about callers, read once at the start.
pub(crate) struct Access {
    services: HashMap<Service, Allowed>,
    /// A group that does not exist has no members.
    operators: Option<u32>,
    couriers: Option<u32>,
    key_makers: Option<u32>,
}

#[derive(Default)]
struct Allowed {
    users: Vec<u32>,
    groups: Vec<u32>,
}

/// A file of `services.d`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceFile {
    /// Reverse-DNS name.
    service: String,
    /// Users, by number or by name as in `/etc/passwd`.
    #[serde(default)]
    users: Vec<Id>,
    /// Groups, by number or by name as in `/etc/group`.
    #[serde(default)]
    groups: Vec<Id>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u32),
    Name(String),
}

impl Access {
    /// Reads the services' files and looks up the groups.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] with the file that is wrong.
    pub(crate) fn read(config: &Config) -> Result<Access, Error> {
        let names = Names::read();
        let mut services: HashMap<Service, Allowed> = HashMap::new();
        for file in files(&config.services_dir)? {
            let wrong = |why: &dyn std::fmt::Display| {
                Error::new(Kind::InvalidArgument, format!("{}: {why}", file.display()))
                    .and("correct the file and start the agent again")
            };
            let text = fs::read_to_string(&file).map_err(|e| wrong(&e))?;
            let file: ServiceFile = toml::from_str(&text).map_err(|e| wrong(&e))?;
            let service = Service::new(&file.service).map_err(|e| wrong(&e))?;
            let number = |id: &Id, of: &HashMap<String, u32>| match id {
                Id::Number(number) => Ok(*number),
                Id::Name(name) => of
                    .get(name)
                    .copied()
                    .ok_or_else(|| wrong(&format!("there is no user or group {name:?}"))),
            };
            let allowed = services.entry(service).or_default();
            for user in &file.users {
                allowed.users.push(number(user, &names.users)?);
            }
            for group in &file.groups {
                allowed.groups.push(number(group, &names.groups)?);
            }
        }
        let group = |name: &String| name.parse().ok().or(names.groups.get(name).copied());
        Ok(Access {
            services,
            operators: group(&config.operator_group),
            couriers: group(&config.courier_group),
            key_makers: group(&config.key_group),
        })
    }

    /// # Errors
    /// [`Kind::NotAllowed`] unless the operator's files let the caller trade for the service.
    pub(crate) fn service(&self, caller: &Caller, service: &Service) -> Result<(), Error> {
        let allowed = self.services.get(service).is_some_and(|allowed| {
            allowed.users.contains(&caller.uid)
                || allowed.groups.iter().any(|group| caller.gids.contains(group))
        });
        if allowed {
            return Ok(());
        }
        Err(Error::new(Kind::NotAllowed, format!("you may not trade for {service}"))
            .and("ask the operator for a file in services.d that names you"))
    }

    /// # Errors
    /// [`Kind::NotAllowed`] for everybody but root and the operators.
    pub(crate) fn operator(&self, caller: &Caller) -> Result<(), Error> {
        member(caller, self.operators)
    }

    /// # Errors
    /// [`Kind::NotAllowed`] for everybody but root and the couriers.
    pub(crate) fn courier(&self, caller: &Caller) -> Result<(), Error> {
        member(caller, self.couriers)
    }

    /// # Errors
    /// [`Kind::NotAllowed`] for everybody but root and those who may have keys.
    pub(crate) fn key_maker(&self, caller: &Caller) -> Result<(), Error> {
        member(caller, self.key_makers)
    }
}

fn member(caller: &Caller, group: Option<u32>) -> Result<(), Error> {
    let is_member = group.is_some_and(|group| caller.gids.contains(&group));
    if caller.uid == 0 || is_member { Ok(()) } else { Err(Kind::NotAllowed.into()) }
}

/// The `*.toml` files of a folder, in the order of their names. No folder, no files.
fn files(folder: &Path) -> Result<Vec<std::path::PathBuf>, Error> {
    let wrong = |e: std::io::Error| {
        Error::new(Kind::InvalidArgument, format!("{}: {e}", folder.display()))
            .and("correct services_dir")
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(wrong(e)),
    };
    let mut files =
        entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    Ok(files)
}

/// Local accounts. Read as files, since the C library's look-up is not safe Rust; accounts from
/// a directory service are named by number.
struct Names {
    users: HashMap<String, u32>,
    groups: HashMap<String, u32>,
}

impl Names {
    fn read() -> Names {
        Names { users: numbers("/etc/passwd"), groups: numbers("/etc/group") }
    }
}

/// `name:x:number:…`, one a line.
fn numbers(file: &str) -> HashMap<String, u32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32, gids: &[u32]) -> Caller {
        Caller { uid, gids: gids.to_vec(), connection: ":1.7".to_owned() }
    }

    fn access(files: &[&str]) -> Result<Access, Error> {
        let dir = tempfile::tempdir().unwrap();
        for (number, text) in files.iter().enumerate() {
            fs::write(dir.path().join(format!("{number}.toml")), text).unwrap();
        }
        let config = format!(
            "state_dir = '/x'\nservices_dir = '{}'\noperator_group = '77'\nhardware.tcti = '/dev/tpmrm0'",
            dir.path().display()
        );
        Access::read(&toml::from_str(&config).unwrap())
    }

    #[test]
    fn a_service_is_for_those_its_file_names() {
        let till = "service = 'com.example.till'\nusers = [1000, 'root']\ngroups = [50]";
        let access = access(&[till]).unwrap();
        let service = Service::new("com.example.till").unwrap();
        for allowed in [caller(1000, &[]), caller(0, &[]), caller(7, &[1, 50])] {
            assert_eq!(access.service(&allowed, &service), Ok(()));
        }
        let refused = access.service(&caller(1001, &[51]), &service).unwrap_err();
        assert_eq!(refused.kind, Kind::NotAllowed);
        let other = Service::new("com.example.other").unwrap();
        assert_eq!(access.service(&caller(1000, &[]), &other).unwrap_err().kind, Kind::NotAllowed);
    }

    #[test]
    fn groups_decide_about_operators_and_couriers() {
        let access = access(&[]).unwrap();
        assert_eq!(access.operator(&caller(1000, &[77])), Ok(()));
        assert_eq!(access.operator(&caller(0, &[])), Ok(()));
        assert_eq!(access.operator(&caller(1000, &[78])).unwrap_err().kind, Kind::NotAllowed);
        // The couriers' group does not exist here, so only root carries.
        assert_eq!(access.courier(&caller(1000, &[77])).unwrap_err().kind, Kind::NotAllowed);
        assert_eq!(access.courier(&caller(0, &[])), Ok(()));
    }

    #[test]
    fn a_wrong_file_is_named() {
        for wrong in [
            "service = 'till'",
            "service = 'com.example.till'\nusers = ['nobody-of-this-name']",
            "service = 'com.example.till'\nuser = [1000]",
        ] {
            let error = access(&[wrong]).err().unwrap();
            assert_eq!(error.kind, Kind::InvalidArgument);
            assert!(error.to_string().contains("0.toml"), "{error}");
        }
    }
}

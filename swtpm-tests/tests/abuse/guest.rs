//! What a guest does on the bus: calls of any form, by name.

use std::os::fd::OwnedFd;

use zbus::wire::{Signature, StructureBuilder};
use zbus::{Connection, DBusError, Message, OwnedObjectPath, Variant};

use crate::stage::SERVICE;

pub const NAME: &str = "org.twinseal.Agent1";
pub const ROOT: &str = "/org/twinseal/Agent1";
pub const INTROSPECT: &str = "org.freedesktop.DBus.Introspectable.Introspect";

/// Calls `member`, named with its interface, with arguments that fit `signature` and say little.
/// Gives the reply, or the name of the error.
pub async fn call(
    bus: &Connection,
    path: &str,
    member: &str,
    signature: &str,
) -> Result<Message, String> {
    let arguments: Vec<Variant<'static>> = signatures(signature).iter().map(dull).collect();
    call_with(bus, path, member, arguments).await
}

/// The same with these arguments.
pub async fn call_with(
    bus: &Connection,
    path: &str,
    member: &str,
    arguments: Vec<Variant<'_>>,
) -> Result<Message, String> {
    let (interface, name) = member.rsplit_once('.').unwrap();
    let reply = match arguments.is_empty() {
        true => bus.call_method(Some(NAME), path, Some(interface), name, &()).await,
        false => {
            let body = arguments
                .into_iter()
                .fold(StructureBuilder::new(), |body, argument| body.append_field(argument));
            let body = body.build().unwrap();
            bus.call_method(Some(NAME), path, Some(interface), name, &body).await
        }
    };
    reply.map_err(|error| match error {
        zbus::Error::MethodError(name, ..) => name.to_string(),
        zbus::Error::FDO(error) => error.name().to_string(),
        other => panic!("{member}: {other:?}"),
    })
}

/// A member of an interface, as introspection shows it: `interface.name`, and the signature of
/// its arguments or of its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub name: String,
    pub signature: String,
}

/// Methods and properties in introspection data.
pub fn members(xml: &str) -> (Vec<Member>, Vec<Member>) {
    let (mut methods, mut properties) = (Vec::<Member>::new(), Vec::new());
    let mut interface = String::new();
    for line in xml.lines().map(str::trim) {
        let member = |name: &str| format!("{interface}.{name}");
        if line.starts_with("<interface ") {
            interface = attribute(line, "name");
        } else if line.starts_with("<method ") {
            let name = member(&attribute(line, "name"));
            methods.push(Member { name, signature: String::new() });
        } else if line.starts_with("<arg ") && attribute(line, "direction") == "in" {
            methods.last_mut().unwrap().signature += &attribute(line, "type");
        } else if line.starts_with("<property ") {
            let name = member(&attribute(line, "name"));
            properties.push(Member { name, signature: attribute(line, "type") });
        }
    }
    (methods, properties)
}

/// The names of the nodes below.
pub fn nodes(xml: &str) -> Vec<String> {
    let lines = xml.lines().map(str::trim).filter(|line| line.starts_with("<node name="));
    lines.map(|line| attribute(line, "name")).collect()
}

fn attribute(line: &str, name: &str) -> String {
    let value = line.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest);
    value.and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
}

fn signatures(text: &str) -> Vec<Signature> {
    match Signature::try_from(text).unwrap() {
        Signature::Unit => Vec::new(),
        Signature::Structure(fields) => fields.iter().cloned().collect(),
        one => vec![one],
    }
}

/// The least that a value of this type can be; texts name the service, so that a call is not
/// refused for that.
fn dull(signature: &Signature) -> Variant<'static> {
    match signature.to_string().as_str() {
        "s" => SERVICE.into(),
        "u" => 0_u32.into(),
        "t" => 0_u64.into(),
        "ay" => Vec::<u8>::new().into(),
        "a{sv}" => std::collections::HashMap::<String, Variant<'static>>::new().into(),
        "v" => Variant::Variant(Box::new(0_u32.into())),
        // A pipe that nobody writes into.
        "h" => zbus::Fd::from(OwnedFd::from(std::io::pipe().unwrap().0)).into(),
        "o" => OwnedObjectPath::try_from(ROOT).unwrap().into(),
        other => panic!("no value for {other}: add one"),
    }
}

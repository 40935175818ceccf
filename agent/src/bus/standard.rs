//! The standard interfaces of D-Bus, each of them only over what the caller can see: Peer,
//! Introspectable, Properties and ObjectManager (D-Bus specification, "Standard Interfaces").

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use zbus::{Message, OwnedObjectPath, OwnedVariant};

use super::interface::Interface;
use super::object::{Object, Objects, Request};
use super::refusal::Refusal;

/// Does what a call asks for. `top` is the path of the one object manager.
///
/// # Errors
/// What the call is to be refused with.
pub(super) async fn answer(
    objects: Arc<dyn Objects>,
    request: Request,
    top: &'static str,
) -> Result<Message, Refusal> {
    let message = request.message.clone();
    let header = message.header();
    let (Some(path), Some(interface), Some(method)) =
        (header.path(), header.interface(), header.member())
    else {
        return Err(Refusal::unknown_interface("without a name"));
    };
    let own = objects.find(&request, path).await;
    if let Some(Ok(member)) = own.as_ref().map(|object| object.member(interface)) {
        return member.call(method, message.clone())?.await;
    }
    let place = Place::find(objects, request, path, own, top).await?;
    let standard = Place::standard(&Arc::new(place));
    standard.member(interface)?.call(method, message.clone())?.await
}

/// A place in the tree that the caller can see: an object, or a folder with objects below it.
struct Place {
    objects: Arc<dyn Objects>,
    request: Request,
    path: String,
    is_top: bool,
    own: Object,
    /// The paths of the objects below this one.
    below: Vec<String>,
}

type Properties = HashMap<&'static str, OwnedVariant>;
type Managed = HashMap<OwnedObjectPath, HashMap<&'static str, Properties>>;

impl Place {
    async fn find(
        objects: Arc<dyn Objects>,
        request: Request,
        path: &str,
        own: Option<Object>,
        top: &str,
    ) -> Result<Self, Refusal> {
        let folder = format!("{}/", path.trim_end_matches('/'));
        let mut below = objects.paths(&request.session).await;
        below.retain(|other| other.starts_with(&folder) && *other != folder);
        if own.is_none() && below.is_empty() {
            return Err(Refusal::unknown_object());
        }
        Ok(Self {
            objects,
            request,
            path: path.to_owned(),
            is_top: path == top,
            own: own.unwrap_or_default(),
            below,
        })
    }

    /// The standard interfaces of this place.
    fn standard(place: &Arc<Self>) -> Object {
        let everywhere = Object::default()
            .with(&*PEER, Arc::new(()))
            .with(&*INTROSPECTABLE, Arc::clone(place))
            .with(&*PROPERTIES, Arc::clone(place));
        match place.is_top {
            true => everywhere.with(&*OBJECT_MANAGER, Arc::clone(place)),
            false => everywhere,
        }
    }

    async fn introspect(self: Arc<Self>, (): ()) -> Result<(String,), Refusal> {
        let mut xml = HEAD.to_owned();
        let standard = Self::standard(&self);
        for member in self.own.members().chain(standard.members()) {
            member.write_xml(&mut xml);
        }
        let skip = self.path.trim_end_matches('/').len() + 1;
        let names = self.below.iter().filter_map(|path| path.get(skip..)?.split('/').next());
        for name in names.collect::<BTreeSet<_>>() {
            let _ = writeln!(xml, "  <node name=\"{name}\"/>");
        }
        xml.push_str("</node>\n");
        Ok((xml,))
    }

    async fn property(
        self: Arc<Self>,
        (interface, name): (String, String),
    ) -> Result<(OwnedVariant,), Refusal> {
        Ok((self.own.member(&interface)?.property(&name).await?,))
    }

    async fn set_property(
        self: Arc<Self>,
        (interface, name, _): (String, String, OwnedVariant),
    ) -> Result<(), Refusal> {
        self.own.member(&interface)?.property(&name).await?;
        Err(Refusal::read_only(&name))
    }

    async fn all_properties(
        self: Arc<Self>,
        (interface,): (String,),
    ) -> Result<(Properties,), Refusal> {
        Ok((self.own.member(&interface)?.properties().await,))
    }

    async fn managed(self: Arc<Self>, (): ()) -> Result<(Managed,), Refusal> {
        let mut managed = Managed::new();
        for path in &self.below {
            // What has gone since the paths were listed is left out.
            let Some(object) = self.objects.find(&self.request, path).await else { continue };
            let path = OwnedObjectPath::try_from(path.as_str()).map_err(Refusal::internal)?;
            let interfaces = managed.entry(path).or_default();
            for member in object.members() {
                interfaces.insert(member.name(), member.properties().await);
            }
        }
        Ok((managed,))
    }
}

const HEAD: &str = r#"<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node>
"#;

static PEER: LazyLock<Interface<()>> = LazyLock::new(|| {
    Interface::new("org.freedesktop.DBus.Peer")
        .method("Ping", &[], &[], |_, (): ()| async { Ok::<_, Refusal>(()) })
});

static INTROSPECTABLE: LazyLock<Interface<Place>> = LazyLock::new(|| {
    Interface::new("org.freedesktop.DBus.Introspectable").method(
        "Introspect",
        &[],
        &["xml_data"],
        Place::introspect,
    )
});

static PROPERTIES: LazyLock<Interface<Place>> = LazyLock::new(|| {
    Interface::new("org.freedesktop.DBus.Properties")
        .method("Get", &["interface_name", "property_name"], &["value"], Place::property)
        .method("Set", &["interface_name", "property_name", "value"], &[], Place::set_property)
        .method("GetAll", &["interface_name"], &["properties"], Place::all_properties)
});

/// Without the signals: that there is a trade or a job is said by TradeOffered, and by the reply
/// to whoever began it.
static OBJECT_MANAGER: LazyLock<Interface<Place>> = LazyLock::new(|| {
    Interface::new("org.freedesktop.DBus.ObjectManager").method(
        "GetManagedObjects",
        &[],
        &["objects"],
        Place::managed,
    )
});

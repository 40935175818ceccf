//! A D-Bus interface as a table of typed members.
//!
//! Dispatch, signatures and introspection come from the same table, so they cannot disagree.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::{DynamicType, Message, OwnedVariant, Signature, Type, Variant};

use super::refusal::Refusal;

/// The members of an interface. `T` is one object as one caller sees it: a small value that is
/// made for a call and forgotten after it.
pub struct Interface<T> {
    name: &'static str,
    methods: Vec<Method<T>>,
    properties: Vec<Property<T>>,
    signals: Vec<(&'static str, Vec<Argument>)>,
}

struct Method<T> {
    name: &'static str,
    inputs: Vec<Argument>,
    outputs: Vec<Argument>,
    run: Box<dyn Fn(Arc<T>, Message) -> Answer<Message> + Send + Sync>,
}

struct Property<T> {
    name: &'static str,
    signature: Signature,
    read: Box<dyn Fn(Arc<T>) -> Answer<OwnedVariant> + Send + Sync>,
}

struct Argument {
    name: &'static str,
    signature: Signature,
}

/// Something that comes about.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a member gives, as it comes about.
type Answer<T> = Pending<'static, Result<T, Refusal>>;

impl<T: Send + Sync + 'static> Interface<T> {
    /// An interface without members.
    pub fn new(name: &'static str) -> Self {
        Self { name, methods: Vec::new(), properties: Vec::new(), signals: Vec::new() }
    }

    /// Adds a method. `A` and `R` are tuples, with one name for each of their elements.
    #[must_use]
    pub fn method<A, R, E, F>(
        mut self,
        name: &'static str,
        inputs: &[&'static str],
        outputs: &[&'static str],
        run: impl Fn(Arc<T>, A) -> F + Send + Sync + 'static,
    ) -> Self
    where
        A: DeserializeOwned + Type + Send,
        R: Serialize + DynamicType + Type,
        E: Into<Refusal>,
        F: Future<Output = Result<R, E>> + Send + 'static,
    {
        self.methods.push(Method {
            name,
            inputs: arguments::<A>(inputs),
            outputs: arguments::<R>(outputs),
            run: Box::new(move |object, message| {
                let running = message.body().deserialize().map(|input| run(object, input));
                Box::pin(async move {
                    let output = running.map_err(Refusal::bad_arguments)?.await;
                    reply(&message, &output.map_err(Into::into)?)
                })
            }),
        });
        self
    }

    /// Adds a property that can be read. No property announces that it changes.
    #[must_use]
    pub fn property<V, E, F>(
        mut self,
        name: &'static str,
        read: impl Fn(Arc<T>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        V: Type + Into<Variant<'static>>,
        E: Into<Refusal>,
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        self.properties.push(Property {
            name,
            signature: V::SIGNATURE.clone(),
            read: Box::new(move |object| {
                let reading = read(object);
                Box::pin(async move {
                    let value: Variant<'static> = reading.await.map_err(Into::into)?.into();
                    OwnedVariant::try_from(value).map_err(Refusal::internal)
                })
            }),
        });
        self
    }

    /// Adds a signal to the introspection; `A` is a tuple with one name for each element.
    #[must_use]
    pub fn signal<A: Type>(mut self, name: &'static str, names: &[&'static str]) -> Self {
        self.signals.push((name, arguments::<A>(names)));
        self
    }

    /// Appends the interface as an element of introspection data.
    pub(super) fn write_xml(&self, xml: &mut String) {
        let _ = writeln!(xml, "  <interface name=\"{}\">", self.name);
        for method in &self.methods {
            let _ = writeln!(xml, "    <method name=\"{}\">", method.name);
            write_arguments(xml, &method.inputs, " direction=\"in\"");
            write_arguments(xml, &method.outputs, " direction=\"out\"");
            xml.push_str("    </method>\n");
        }
        for (name, arguments) in &self.signals {
            let _ = writeln!(xml, "    <signal name=\"{name}\">");
            write_arguments(xml, arguments, "");
            xml.push_str("    </signal>\n");
        }
        for Property { name, signature, .. } in &self.properties {
            let _ = writeln!(
                xml,
                "    <property name=\"{name}\" type=\"{signature}\" access=\"read\"/>"
            );
        }
        if !self.properties.is_empty() {
            xml.push_str(NOT_ANNOUNCED);
        }
        xml.push_str("  </interface>\n");
    }
}

/// An interface of one object for one caller.
pub(super) trait Member: Send + Sync {
    fn name(&self) -> &'static str;
    fn call(&self, method: &str, message: Message) -> Result<Answer<Message>, Refusal>;
    fn property<'a>(&'a self, name: &'a str) -> Pending<'a, Result<OwnedVariant, Refusal>>;
    /// All that the caller may read.
    fn properties(&self) -> Pending<'_, HashMap<&'static str, OwnedVariant>>;
    fn write_xml(&self, xml: &mut String);
}

impl<T: Send + Sync + 'static> Member for (&'static Interface<T>, Arc<T>) {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn call(&self, name: &str, message: Message) -> Result<Answer<Message>, Refusal> {
        let method = self.0.methods.iter().find(|method| method.name == name);
        let method = method.ok_or_else(|| Refusal::unknown_method(name))?;
        Ok((method.run)(Arc::clone(&self.1), message))
    }

    fn property<'a>(&'a self, name: &'a str) -> Pending<'a, Result<OwnedVariant, Refusal>> {
        Box::pin(async move {
            let property = self.0.properties.iter().find(|property| property.name == name);
            let property = property.ok_or_else(|| Refusal::unknown_property(name))?;
            (property.read)(Arc::clone(&self.1)).await
        })
    }

    fn properties(&self) -> Pending<'_, HashMap<&'static str, OwnedVariant>> {
        Box::pin(async move {
            let mut readable = HashMap::new();
            for property in &self.0.properties {
                if let Ok(value) = (property.read)(Arc::clone(&self.1)).await {
                    readable.insert(property.name, value);
                }
            }
            readable
        })
    }

    fn write_xml(&self, xml: &mut String) {
        self.0.write_xml(xml);
    }
}

/// Of all properties of the interface.
const NOT_ANNOUNCED: &str = r#"    <annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="false"/>
"#;

fn write_arguments(xml: &mut String, arguments: &[Argument], direction: &str) {
    for Argument { name, signature } in arguments {
        let _ = writeln!(xml, "      <arg name=\"{name}\" type=\"{signature}\"{direction}/>");
    }
}

fn arguments<A: Type>(names: &[&'static str]) -> Vec<Argument> {
    let signatures: Vec<Signature> = match A::SIGNATURE {
        Signature::Structure(fields) => fields.iter().cloned().collect(),
        Signature::Unit => Vec::new(),
        one => vec![one.clone()],
    };
    debug_assert_eq!(signatures.len(), names.len(), "a name for every argument: {names:?}");
    let named = names.iter().zip(signatures);
    named.map(|(name, signature)| Argument { name, signature }).collect()
}

fn reply<R: Serialize + DynamicType>(call: &Message, body: &R) -> Result<Message, Refusal> {
    let reply = Message::method_return(&call.header()).build(body);
    reply.map_err(Refusal::internal)
}

//! Objects: found, read, stored, changed and destroyed.

use std::sync::Arc;

use cryptoki_sys::*;

use crate::der;
use crate::key::{Key, NO_LABEL};
use crate::module::{Module, Tables};
use crate::object::{Attribute, Certificate, Home, Object};
use crate::rv::{Result, Rv, fail};
use crate::template::Template;

impl Module {
    /// Asks the agent what keys there are, and begins a search among all objects.
    pub(crate) fn find_init(
        &self,
        session: CK_SESSION_HANDLE,
        template: &Template<'_>,
    ) -> Result<()> {
        if self.tables().session(session)?.found.is_some() {
            return fail(CKR_OPERATION_ACTIVE);
        }
        let keys = self.agent.keys()?;
        let mut tables = self.tables();
        tables.know(keys);
        let found = tables.objects.iter().filter(|(_, object)| object.matches(template));
        let found = found.map(|(handle, _)| *handle).collect();
        tables.session(session)?.found = Some(found);
        Ok(())
    }

    /// The next objects of the search.
    pub(crate) fn find(
        &self,
        session: CK_SESSION_HANDLE,
        most: usize,
    ) -> Result<Vec<CK_OBJECT_HANDLE>> {
        let mut tables = self.tables();
        let found = tables.session(session)?.found.as_mut();
        let found = found.ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
        Ok(found.drain(..most.min(found.len())).collect())
    }

    pub(crate) fn find_final(&self, session: CK_SESSION_HANDLE) -> Result<()> {
        let taken = self.tables().session(session)?.found.take();
        taken.map(drop).ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
    }

    /// The attributes of an object, as it was when it was last looked for.
    pub(crate) fn attributes(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        kinds: &[CK_ATTRIBUTE_TYPE],
    ) -> Result<Vec<Attribute>> {
        let mut tables = self.tables();
        tables.session(session)?;
        let object = tables.object(object)?;
        Ok(kinds.iter().map(|kind| object.attribute(*kind)).collect())
    }

    /// A certificate, which is all that can be stored: beside the key that it is for, or with
    /// `CKA_TOKEN` false in this session.
    pub(crate) fn create_object(
        &self,
        session: CK_SESSION_HANDLE,
        template: &Template<'_>,
    ) -> Result<CK_OBJECT_HANDLE> {
        let is_read_write = self.tables().session(session)?.is_read_write;
        match template.number(CKA_CLASS)? {
            Some(CKO_CERTIFICATE) => {}
            Some(_) => return fail(CKR_ATTRIBUTE_VALUE_INVALID),
            None => return fail(CKR_TEMPLATE_INCOMPLETE),
        }
        if template.number(CKA_CERTIFICATE_TYPE)?.is_some_and(|kind| kind != CKC_X_509) {
            return fail(CKR_ATTRIBUTE_VALUE_INVALID);
        }
        let der = template.bytes(CKA_VALUE).ok_or(Rv(CKR_TEMPLATE_INCOMPLETE))?;
        let fields = der::certificate(der).ok_or(Rv(CKR_ATTRIBUTE_VALUE_INVALID))?;
        template.allows(CKA_PRIVATE, false)?;
        if template.flag(CKA_TOKEN)? != Some(true) {
            let (id, label) = names(template)?;
            let certificate = Certificate {
                der: der.to_vec(),
                id: id.unwrap_or_default().to_vec(),
                label: label.unwrap_or_default().to_owned(),
                home: Home::Session(session),
            };
            return Ok(self.tables().put(Object::Certificate(Arc::new(certificate))));
        }
        if !is_read_write {
            return fail(CKR_SESSION_READ_ONLY);
        }
        let keys = self.agent.keys()?;
        let key = keys.into_iter().find(|key| key.spki == fields.spki);
        let Key { path, label, .. } = key.ok_or(Rv(CKR_TEMPLATE_INCONSISTENT))?;
        self.agent.set_certificate(&path, der)?;
        // Programs that name only certificates find them by that name.
        if let Some(name) = template.text(CKA_LABEL)?.filter(|name| !name.is_empty())
            && label == NO_LABEL
        {
            self.agent.rename(&path, Some(name), None)?;
        }
        let key = self.agent.key(&path)?;
        let mut tables = self.tables();
        tables.know_key(key);
        let is_it = |object: &Object| object.place() == Some((&path, CKO_CERTIFICATE));
        let found = tables.objects.iter().find(|(_, object)| is_it(object));
        found.map(|(handle, _)| *handle).ok_or(Rv(CKR_GENERAL_ERROR))
    }

    /// Changes a key's label and id. A certificate has those of its key.
    pub(crate) fn set_attributes(
        &self,
        session: CK_SESSION_HANDLE,
        handle: CK_OBJECT_HANDLE,
        template: &Template<'_>,
    ) -> Result<()> {
        let (object, is_read_write) = {
            let mut tables = self.tables();
            let is_read_write = tables.session(session)?.is_read_write;
            (tables.object(handle)?.clone(), is_read_write)
        };
        let is_same = |kind: CK_ATTRIBUTE_TYPE, value: &[u8]| {
            object.attribute(kind) == Attribute::Value(value.to_vec())
        };
        let changed = Template(
            template.0.iter().filter(|(kind, value)| !is_same(*kind, value)).copied().collect(),
        );
        if changed.0.iter().any(|(kind, _)| ![CKA_LABEL, CKA_ID].contains(kind)) {
            return fail(CKR_ATTRIBUTE_READ_ONLY);
        }
        let Some((path, _)) = object.place() else {
            return fail(CKR_ATTRIBUTE_READ_ONLY);
        };
        if !is_read_write {
            return fail(CKR_SESSION_READ_ONLY);
        }
        let (id, label) = names(&changed)?;
        self.agent.rename(path, label, id)?;
        let key = self.agent.key(path)?;
        self.tables().know_key(key);
        Ok(())
    }

    /// A destroyed private key is gone for ever, and its public half and certificate with it. A
    /// certificate is taken from its key; the public half alone cannot go.
    pub(crate) fn destroy(
        &self,
        session: CK_SESSION_HANDLE,
        handle: CK_OBJECT_HANDLE,
    ) -> Result<()> {
        let (object, is_read_write) = {
            let mut tables = self.tables();
            let is_read_write = tables.session(session)?.is_read_write;
            (tables.object(handle)?.clone(), is_read_write)
        };
        match object.place() {
            None => {}
            Some(_) if !is_read_write => return fail(CKR_SESSION_READ_ONLY),
            Some((path, CKO_PRIVATE_KEY)) => self.agent.delete(path).map_err(Rv::of_object)?,
            Some((path, CKO_CERTIFICATE)) => {
                self.agent.set_certificate(path, &[]).map_err(Rv::of_object)?;
            }
            // Programs that destroy a pair destroy both halves, in either order.
            Some(_) => {}
        }
        self.tables().objects.remove(&handle);
        Ok(())
    }
}

impl Tables {
    /// Takes the agent's list of keys over: handles of keys that are gone end, others stay.
    fn know(&mut self, keys: Vec<Key>) {
        let is_there = |object: &Object| match object.place() {
            Some((path, _)) => keys.iter().any(|key| key.path == path),
            None => true,
        };
        self.objects.retain(|_, object| is_there(object));
        keys.into_iter().for_each(|key| {
            self.know_key(key);
        });
    }

    /// The handles of a key's private and public half.
    pub(crate) fn know_key(&mut self, key: Key) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
        let key = Arc::new(key);
        match key.certificate.is_empty() {
            true => self
                .objects
                .retain(|_, object| object.place() != Some((key.path.as_str(), CKO_CERTIFICATE))),
            false => {
                let certificate = Certificate {
                    der: key.certificate.clone(),
                    id: key.id.clone(),
                    label: key.label.clone(),
                    home: Home::Key(key.path.clone()),
                };
                self.put(Object::Certificate(Arc::new(certificate)));
            }
        }
        (self.put(Object::Private(key.clone())), self.put(Object::Public(key)))
    }
}

/// Id and label of a template.
pub(crate) type Names<'a> = (Option<&'a [u8]>, Option<&'a str>);

pub(crate) fn names<'a>(template: &Template<'a>) -> Result<Names<'a>> {
    Ok((template.bytes(CKA_ID), template.text(CKA_LABEL)?))
}

//! The tags of a parameter.

use aws_sdk_ssm::types::ResourceTypeForTagging;
use rekey_core::store::{RemoteValue, StoreError, StoreErrorKind};

use super::ParameterStore;
use crate::aws::{
    clients::Clients,
    errors::{is_code, translate},
    tags::{pair, value},
};

impl ParameterStore {
    pub(super) async fn tags(&self, clients: &Clients, name: &str) -> Result<RemoteValue, StoreError> {
        let what = format!("reading the tags of {name:?}");
        let attempt = self.service.attempt(&what, "ssm:ListTagsForResource");
        let request = clients.parameters.list_tags_for_resource().resource_id(name);
        let answer = match request.resource_type(ResourceTypeForTagging::Parameter).send().await {
            Err(error) if is_code(&error, "InvalidResourceId") => {
                let text = format!("{what} at {}: there is no such parameter; check the key", self.service.place);
                return Err(StoreError::new(StoreErrorKind::NotFound, text));
            }
            result => result.map_err(|error| translate(&error, attempt))?,
        };
        let tags = answer.tag_list.unwrap_or_default().into_iter();
        Ok(value(tags.filter_map(|tag| pair(Some(tag.key), Some(tag.value)))))
    }
}

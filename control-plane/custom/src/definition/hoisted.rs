//! Where upstream's complaints point: it checks an internal form in which what all versions have in common stands at the top of the spec
//! (`spec.validation`, not `spec.versions[0].schema`). So a definition of one version is always told of at the top.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinitionVersion, CustomResourceSubresources, CustomResourceValidation, SelectableField,
};

/// What all versions have in common, and each has not in upstream's internal form.
#[derive(Default)]
pub struct Hoisted<'a> {
    pub schema: Option<&'a CustomResourceValidation>,
    pub subresources: Option<&'a CustomResourceSubresources>,
    pub columns: &'a [CustomResourceColumnDefinition],
    pub selectable: &'a [SelectableField],
    /// Whether the versions have none of their own any more, part by part.
    pub schema_is: bool,
    pub subresources_is: bool,
    pub columns_is: bool,
    pub selectable_is: bool,
}

impl<'a> Hoisted<'a> {
    pub fn of(versions: &'a [CustomResourceDefinitionVersion]) -> Self {
        let Some(first) = versions.first() else { return Self::default() };
        let schema_is = versions.iter().all(|version| version.schema == first.schema);
        let subresources_is = versions.iter().all(|version| version.subresources == first.subresources);
        let columns_is = versions.iter().all(|version| columns(version) == columns(first));
        let selectable_is = versions.iter().all(|version| selectable(version) == selectable(first));
        Self {
            schema: first.schema.as_ref().filter(|_| schema_is),
            subresources: first.subresources.as_ref().filter(|_| subresources_is),
            columns: if columns_is { columns(first) } else { &[] },
            selectable: if selectable_is { selectable(first) } else { &[] },
            schema_is,
            subresources_is,
            columns_is,
            selectable_is,
        }
    }
}

/// The columns of a version.
pub fn columns(version: &CustomResourceDefinitionVersion) -> &[CustomResourceColumnDefinition] {
    version.additional_printer_columns.as_deref().unwrap_or_default()
}

/// The fields of a version that can be selected by.
pub fn selectable(version: &CustomResourceDefinitionVersion) -> &[SelectableField] {
    version.selectable_fields.as_deref().unwrap_or_default()
}

//! The image service's calls, one method each.

use super::client::{Cri, quick};
use super::proto::*;
use crate::error::Error;

impl Cri {
    /// An image on the node; none when it is not there.
    pub async fn image(&self, reference: &str) -> Result<Option<Image>, Error> {
        let request = ImageStatusRequest { image: Some(spec(reference)), verbose: false };
        let call = self.images.clone().image_status(quick(request)).await;
        Ok(call.map_err(Error::cri("ImageStatus"))?.into_inner().image)
    }

    /// Pulls an image, without a time limit; answers with the reference by which containers are created.
    pub async fn pull_image(&self, reference: &str, auth: Option<AuthConfig>, sandbox: PodSandboxConfig) -> Result<String, Error> {
        let request = PullImageRequest { image: Some(spec(reference)), auth, sandbox_config: Some(sandbox) };
        let call = self.images.clone().pull_image(request).await;
        Ok(call.map_err(Error::cri("PullImage"))?.into_inner().image_ref)
    }

    /// Removes an image by its id, with all its names. Removing a missing one succeeds.
    pub async fn remove_image(&self, id: &str) -> Result<(), Error> {
        let call = self.images.clone().remove_image(quick(RemoveImageRequest { image: Some(spec(id)) })).await;
        call.map(drop).map_err(Error::cri("RemoveImage"))
    }

    /// All images on the node.
    pub async fn list_images(&self) -> Result<Vec<Image>, Error> {
        let call = self.images.clone().list_images(quick(ListImagesRequest { filter: None })).await;
        Ok(call.map_err(Error::cri("ListImages"))?.into_inner().images)
    }

    /// The file systems that hold images.
    pub async fn image_file_systems(&self) -> Result<Vec<FilesystemUsage>, Error> {
        let call = self.images.clone().image_fs_info(quick(ImageFsInfoRequest {})).await;
        Ok(call.map_err(Error::cri("ImageFsInfo"))?.into_inner().image_filesystems)
    }
}

fn spec(reference: &str) -> ImageSpec {
    ImageSpec { image: reference.to_owned(), user_specified_image: reference.to_owned(), ..Default::default() }
}

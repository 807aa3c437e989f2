//! Pages of a listing: `limit` rows after a cursor that the page before handed out.

use super::errors::{ApiError, ApiResult};
use crate::limits;
use crate::views;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which part of a listing.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Rows of this page, 1 to 1000; 100 if left out.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before; left out: from the start.
    after: Option<String>,
}

/// How much of a listing of which only the newest rows are kept.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Newest {
    /// Rows at most, 1 to 1000; 100 if left out.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

/// A page of a listing.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Paged<T> {
    pub items: Vec<T>,
    /// Pass it as `after` to get the next page; left out on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Page {
    /// Rows asked for, within bounds.
    pub fn limit(&self) -> ApiResult<usize> {
        within(self.limit)
    }

    /// The place after which this page begins.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The same where places are numbers of journal entries.
    pub fn entry(&self) -> ApiResult<Option<u64>> {
        let not =
            |text: &str| ApiError::bad_request(format!("`{text}` is no entry's number; pass `next` of a page before"));
        self.after().map(|text| text.parse().map_err(|_| not(text))).transpose()
    }
}

impl Newest {
    /// Rows asked for, within bounds.
    pub fn limit(&self) -> ApiResult<usize> {
        within(self.limit)
    }
}

fn within(limit: Option<usize>) -> ApiResult<usize> {
    match limit {
        None => Ok(limits::PAGE_ROWS_DEFAULT),
        Some(rows) if (1..=limits::PAGE_ROWS_MAX).contains(&rows) => Ok(rows),
        Some(rows) => {
            Err(ApiError::bad_request(format!("limit is between 1 and {}, not {rows}", limits::PAGE_ROWS_MAX)))
        }
    }
}

impl<T> Paged<T> {
    /// A page as a view gives it. It may be short, or even empty, and still go on.
    pub fn of<R>(page: views::Page<R>, row: impl FnMut(R) -> T) -> Self {
        Self { items: page.rows.into_iter().map(row).collect(), next: page.next }
    }

    /// A listing that is always whole.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked() {
        let limit = |limit| Page { limit, after: None }.limit();
        assert_eq!(limit(None), Ok(limits::PAGE_ROWS_DEFAULT));
        assert_eq!(limit(Some(limits::PAGE_ROWS_MAX)), Ok(limits::PAGE_ROWS_MAX));
        for bad in [0, limits::PAGE_ROWS_MAX + 1] {
            assert!(limit(Some(bad)).is_err());
        }
    }
}

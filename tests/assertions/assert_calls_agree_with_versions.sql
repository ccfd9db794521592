-- R4: the content of a call is the content of the version that is valid at its time. A content that lost to another one
-- in the same second makes no version; audit_conflicts counts it.
with

calls as (

    select * from {{ ref('fct_calls') }}
    where true {{ and_touched('event_timestamp', 'int_touched_calls') }}

),

variants as (

    select * from {{ ref('dim_copy_variants') }}

),

runs as (

    select * from {{ ref('int_content_runs') }}

),

outvoted as (

    select
        copy_id,
        starts_at,
        content_hash
    from runs
    where is_outvoted

),

final as (

    select
        calls.copy_id,
        calls.event_timestamp,
        calls.content_hash,
        variants.content_hash as version_hash
    from calls
    left join variants
        on
            calls.copy_id = variants.copy_id
            and {{ unix_to_timestamp('calls.event_timestamp') }} >= variants.valid_from
            and ({{ unix_to_timestamp('calls.event_timestamp') }} < variants.valid_to or variants.valid_to is null)
    left join outvoted
        on
            calls.copy_id = outvoted.copy_id
            and calls.event_timestamp = outvoted.starts_at
            and calls.content_hash = outvoted.content_hash
    where
        (variants.content_hash is null or calls.content_hash != variants.content_hash)
        and outvoted.copy_id is null

)

select * from final

-- R4: the content a call carried is the content of the version valid at its time. Contents that lost to another one in
-- the same second make no version and are counted in audit_conflicts instead.
with

calls as (

    select * from {{ ref('fct_calls') }}

),

variants as (

    select * from {{ ref('dim_copy_variants') }}

),

instants as (

    select * from {{ ref('int_copy_contents_by_instant') }}

),

final as (

    select
        calls.copy_id,
        calls.event_timestamp,
        calls.content_hash,
        variants.content_hash as version_hash
    from calls
    inner join instants
        on
            calls.copy_id = instants.copy_id
            and calls.event_timestamp = instants.event_timestamp
    left join variants
        on
            calls.copy_id = variants.copy_id
            and {{ unix_to_timestamp('calls.event_timestamp') }} >= variants.valid_from
            and ({{ unix_to_timestamp('calls.event_timestamp') }} < variants.valid_to or variants.valid_to is null)
    where
        (variants.content_hash is null or calls.content_hash != variants.content_hash)
        and (instants.content_count = 1 or calls.content_hash = instants.content_hash)

)

select * from final

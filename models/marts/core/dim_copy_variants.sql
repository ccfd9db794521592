with

instants as (

    select * from {{ ref('int_copy_contents_by_instant') }}

),

contents as (

    select * from {{ ref('int_copy_contents') }}

),

compared as (

    select
        copy_id,
        event_timestamp,
        content_hash,
        lag(content_hash) over (partition by copy_id order by event_timestamp) as previous_hash
    from instants

),

-- a run of calls with the same content is one version; it starts where the content differs from the call before
starts as (

    select
        copy_id,
        event_timestamp,
        content_hash
    from compared
    where previous_hash is null or previous_hash != content_hash

),

versions as (

    select
        copy_id,
        event_timestamp,
        content_hash,
        lead(event_timestamp) over (partition by copy_id order by event_timestamp) as next_timestamp,
        row_number() over (partition by copy_id order by event_timestamp) as version_number,
        row_number() over (partition by copy_id, content_hash order by event_timestamp) as use_of_content
    from starts

),

final as (

    select
        {{ surrogate_key(['versions.copy_id', 'versions.event_timestamp']) }} as version_key,
        versions.copy_id,
        cast(versions.version_number as {{ dbt.type_bigint() }}) as version_number,
        contents.template_id,
        versions.content_hash,
        {{ json_member('contents.vars', 'subject') }} as subject,
        {{ json_member('contents.vars', 'preheader') }} as preheader,
        {{ json_member('contents.vars', 'body') }} as body,
        contents.vars,
        case
            when versions.version_number = 1 then 'created'
            when versions.use_of_content > 1 then 'reverted'
            else 'edited'
        end as change_type,
        {{ unix_to_timestamp('versions.event_timestamp') }} as valid_from,
        {{ unix_to_timestamp('versions.next_timestamp') }} as valid_to,
        versions.next_timestamp is null as is_current
    from versions
    inner join contents
        on versions.content_hash = contents.content_hash

)

select * from final

{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['happened_date'],
    meta={'touched': [{
        'model': 'int_touched_pipeline_calls',
        'on': {'message_id': 'message_id', 'happened_date': 'happened_date'},
    }]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

{% set by_metarouter = is_metarouter() %}
{% set page = json_name('page', 'url') if by_metarouter else json_name('properties', 'url') %}
{% set screen = json_name('properties', 'name') if by_metarouter else 'page_name' %}

with

calls as (

    {{ calls_of(['track_event', 'track_page_view', 'track_screen_view', 'report_content_event']) }}

),

parsed as (

    select
        {{ call_columns() }},
        user_id,
        anonymous_id,
        event_name,
        page_name,
        properties,
        {{ sha256_of('message_id') }} as message_hash,
        {{ json_fields('properties', ['category', 'actionType']) }} as property_fields,
        {{ json_value('context', 'page') }} as page
    from calls

),

-- a content event goes to the anonymous visitor who saw the content, whoever was logged in
read as (

    select
        {{ call_columns() }},
        user_id,
        anonymous_id,
        properties,
        message_hash,
        case action
            when 'track_event' then event_name
            when 'track_page_view' then {{ page }}
            when 'track_screen_view' then {{ screen }}
            else {{ json_field('property_fields', 'actionType') }}
        end as name,
        case when action != 'report_content_event' then user_id end as known_id,
        {{ json_field('property_fields', 'category') }} as category
    from parsed

),

identified as (

    select
        {{ call_columns() }},
        user_id,
        anonymous_id,
        properties,
        message_hash,
        name,
        known_id,
        category,
        case
            when known_id is not null then {{ identifier_type('known_id') }}
            when anonymous_id is not null then 'anonymous_id'
        end as person_id_type,
        coalesce(known_id, anonymous_id) as person_id,
        coalesce({{ person_identifier('known_id') }}, {{ json_object([['anonymous_id', json_text('anonymous_id')]]) }})
            as identifiers,
        {{ event_id('message_id', 'happened_ms', 'message_hash') }} as event_id
    from read

),

parts as (

    select
        request_id,
        'attributes' as part,
        case when action = 'report_content_event' then 1 else 0 end as precedence,
        properties as json_text
    from identified

    union all

    select
        request_id,
        'attributes' as part,
        2 as precedence,
        {{ json_object([
            ['anonymous_id', 'case when known_id is not null then ' ~ json_text('anonymous_id') ~ ' end'],
        ] + ([
            ['userId', "case when action != 'report_content_event' then " ~ json_text('user_id') ~ ' end'],
            ['from', "case when action = 'track_screen_view' then " ~ json_text('category') ~ ' end'],
        ] if by_metarouter else [])) }} as json_text
    from identified

),

{{ attributes_of('parts', ignored={'attributes': ['actionType']}) }},

written as (

    select
        {{ call_columns('identified') }},
        identified.name,
        identified.person_id_type,
        identified.person_id,
        {{ json_object([
            ['type', "'\"person\"'"],
            ['action', "case action when 'track_event' then '\"event\"' when 'track_page_view' then '\"page\"'"
                ~ " when 'track_screen_view' then '\"screen\"' else " ~ json_text('name') ~ ' end'],
            ['name', json_text('name')],
            ['id', "case when action != 'report_content_event' then " ~ json_text('event_id') ~ ' end'],
            ['identifiers', 'case when person_id is not null then identifiers end'],
            ['attributes', "coalesce(attributes.members, '{}')"],
            ['timestamp', unix_text('happened_ms')],
        ]) }} as payload
    from identified
    left join attributes
        on identified.request_id = attributes.request_id

),

-- the value of an attribute has no limit of its own in an event, which has one as a whole; names and their number have
final as (

    select
        {{ request_columns('batch', is_event=true, relation='written') }},
        {{ held_back(
            [
                ['no_identifier', 'person_id is null'],
                ['missing_field', 'name is null'],
                ['unknown_content_action', "action = 'report_content_event' and name not in ('viewed_content', 'clicked_content')"],
                ['value_too_long', byte_length('name') ~ ' > 100 or attributes.longest_name > 150'],
                ['too_many_attributes', 'attributes.member_count > ' ~ most_attributes()],
            ],
            ids=['person_id'],
        ) }} as held_back_reason
    from written
    left join attributes
        on written.request_id = attributes.request_id

)

select * from final

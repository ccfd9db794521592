{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_request_people', 'on': {'person_key': 'person_key'}}], 'queues': ['int_touched_request_people']}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }},
-- {{ ref('int_destination_calls') }}{% endif %}

with

timeline as (

    select * from {{ ref('int_person_timeline') }}
    where
        not is_gone
        and request_id not in (select request_id from {{ ref('int_overfull_requests') }})
        {% if is_incremental() -%}
        and person_key in (select person_key from {{ ref('int_touched_request_people') }})
        {{- and_between('person_key', 'int_touched_request_people', 'person_key') }}
        {%- endif %}

),

written as (

    select
        person_key,
        request_order,
        merge_path,
        {{ json_value('payload', 'attributes') }} as attributes
    from timeline
    where action = 'create_or_update_person'

),

opened as (

    {{ json_entries('written', ['person_key', 'request_order', 'merge_path'], 'attributes') }}

),

-- the last value that was written; in a merge those of who stays win, and of several merges those of the earlier
ranked as (

    select
        person_key,
        member_name,
        member_json,
        member_text,
        row_number() over (
            partition by person_key, member_name
            order by merge_path, request_order desc
        ) as recency
    from opened
    -- an address cannot be taken away by null or by what is none: it identifies the person
    where
        member_name != 'email'
        or {{ is_name('member_json', 'member_text') }}

),

attributes as (

    select
        person_key,
        {{ json_object_agg('member_name', 'member_json') }} as attributes,
        count(*) as attribute_count,
        max(case when member_name = 'email' then member_text end) as email
    from ranked
    where recency = 1
    group by person_key

),

-- events and devices create a person whom nobody identified
held as (

    select
        person_key,
        identifier,
        request_order,
        happened_at,
        action,
        name_depth
    from timeline
    where action in (
        'create_or_update_person',
        'create_or_update_device',
        'create_or_update_object',
        'track_event',
        'track_page_view',
        'track_screen_view',
        'merge_people'
    )

),

people as (

    select
        person_key,
        min(happened_at) as first_request_at,
        max(happened_at) as last_request_at,
        count(*) as request_count
    from held
    where action != 'merge_people'
    group by person_key

),

-- a name that was merged into another may come back, and is not who stayed; what only takes away gives nobody a name
ranked_identifiers as (

    select
        person_key,
        {{ identifier_kind('identifier') }} as identifier_type,
        {{ identifier_value('identifier') }} as identifier_value,
        row_number() over (
            partition by person_key, {{ identifier_kind('identifier') }}
            order by name_depth, request_order desc
        ) as recency
    from held

),

identifiers as (

    select
        person_key,
        max(case when identifier_type = 'customer_id' then identifier_value end) as customer_id,
        max(case when identifier_type = 'cio_id' then identifier_value end) as cio_id,
        max(case when identifier_type = 'email' then identifier_value end) as email
    from ranked_identifiers
    where recency = 1
    group by person_key

),

final as (

    select
        people.person_key,
        identifiers.customer_id,
        identifiers.cio_id,
        coalesce(attributes.email, identifiers.email) as email,
        coalesce(attributes.attributes, '{}') as attributes,
        coalesce(attributes.attribute_count, 0) as attribute_count,
        people.first_request_at,
        people.last_request_at,
        people.request_count
    from people
    left join attributes
        on people.person_key = attributes.person_key
    left join identifiers
        on people.person_key = identifiers.person_key

)

select * from final

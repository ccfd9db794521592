with

timeline as (

    select * from {{ ref('int_object_timeline') }}
    where not is_object_gone

),

written as (

    select
        object_type_id,
        object_id,
        request_number,
        attributes
    from timeline
    where action = 'create_or_update_object'

),

opened as (

    {{ json_entries('written', ['object_type_id', 'object_id', 'request_number'], 'attributes') }}

),

ranked as (

    select
        object_type_id,
        object_id,
        member_name,
        member_json,
        row_number() over (
            partition by object_type_id, object_id, member_name
            order by request_number desc
        ) as recency
    from opened

),

attributes as (

    select
        object_type_id,
        object_id,
        {{ json_object_agg('member_name', 'member_json') }} as attributes
    from ranked
    where recency = 1
    group by object_type_id, object_id

),

objects as (

    select
        object_type_id,
        object_id,
        min(happened_at) as first_request_at,
        max(happened_at) as last_request_at
    from timeline
    where action in ('create_or_update_object', 'create_or_update_person')
    group by object_type_id, object_id

),

final as (

    select
        {{ surrogate_key(['objects.object_type_id', 'objects.object_id']) }} as object_key,
        objects.object_type_id,
        objects.object_id,
        coalesce(attributes.attributes, '{}') as attributes,
        objects.first_request_at,
        objects.last_request_at
    from objects
    left join attributes
        on
            objects.object_type_id = attributes.object_type_id
            and objects.object_id = attributes.object_id

)

select * from final

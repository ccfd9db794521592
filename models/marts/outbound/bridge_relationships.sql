with

timeline as (

    select * from {{ ref('int_object_timeline') }}
    where
        person_key is not null
        and not is_object_gone
        and not is_person_gone
        and action != 'delete_object'

),

ended as (

    select
        object_type_id,
        object_id,
        person_key,
        request_number,
        happened_at,
        relationship_attributes,
        request_number <= coalesce(
            max(case when action = 'delete_relationship' then request_number end)
                over (partition by object_type_id, object_id, person_key),
            0
        ) as is_gone
    from timeline

),

written as (

    select
        object_type_id,
        object_id,
        person_key,
        request_number,
        happened_at,
        coalesce(relationship_attributes, '{}') as relationship_attributes
    from ended
    where not is_gone

),

opened as (

    {{ json_entries(
        'written', ['object_type_id', 'object_id', 'person_key', 'request_number'], 'relationship_attributes'
    ) }}

),

ranked as (

    select
        object_type_id,
        object_id,
        person_key,
        member_name,
        member_json,
        row_number() over (
            partition by object_type_id, object_id, person_key, member_name
            order by request_number desc
        ) as recency
    from opened

),

attributes as (

    select
        object_type_id,
        object_id,
        person_key,
        {{ json_object_agg('member_name', 'member_json') }} as attributes
    from ranked
    where recency = 1
    group by object_type_id, object_id, person_key

),

relationships as (

    select
        object_type_id,
        object_id,
        person_key,
        min(happened_at) as first_request_at,
        max(happened_at) as last_request_at
    from written
    group by object_type_id, object_id, person_key

),

final as (

    select
        {{ surrogate_key(['relationships.object_type_id', 'relationships.object_id']) }} as object_key,
        relationships.person_key,
        coalesce(attributes.attributes, '{}') as attributes,
        relationships.first_request_at,
        relationships.last_request_at
    from relationships
    left join attributes
        on
            relationships.object_type_id = attributes.object_type_id
            and relationships.object_id = attributes.object_id
            and relationships.person_key = attributes.person_key

)

select * from final

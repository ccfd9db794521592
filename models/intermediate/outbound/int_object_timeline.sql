{# Rebuilt whole in each run, in time that grows with the number of requests that name an object. #}

with

requests as (

    select * from {{ ref('outbound_requests') }}
    where held_back_reason is null

),

people as (

    select * from {{ ref('int_person_timeline') }}

),

-- an identify call may name the object in its one relationship
person_side as (

    select
        request_id,
        person_key,
        request_number,
        happened_at,
        action,
        {{ json_first_member(json_value('payload', 'cio_relationships'), 'identifiers') }} as object_identifiers,
        cast(null as {{ dbt.type_string() }}) as attributes,
        {{ json_first_member(json_value('payload', 'cio_relationships'), 'relationship_attributes') }}
            as relationship_attributes
    from requests
    where
        action = 'create_or_update_person'
        and {{ json_value('payload', 'cio_relationships') }} is not null

),

object_side as (

    select
        request_id,
        person_key,
        request_number,
        happened_at,
        action,
        {{ json_value('payload', 'identifiers') }} as object_identifiers,
        {{ json_value('payload', 'attributes') }} as attributes,
        {{ json_first_member(json_value('payload', 'cio_relationships'), 'relationship_attributes') }}
            as relationship_attributes
    from requests
    where action in ('create_or_update_object', 'delete_object', 'delete_relationship')

),

both_sides as (

    select * from person_side

    union all

    select * from object_side

),

named as (

    select
        both_sides.request_id,
        both_sides.person_key,
        both_sides.request_number,
        both_sides.happened_at,
        both_sides.action,
        both_sides.attributes,
        both_sides.relationship_attributes,
        coalesce(people.is_gone, false) as is_person_gone,
        {{ json_member('both_sides.object_identifiers', 'object_type_id') }} as object_type_id,
        {{ json_member('both_sides.object_identifiers', 'object_id') }} as object_id
    from both_sides
    left join people
        on both_sides.request_id = people.request_id

),

final as (

    select
        request_id,
        object_type_id,
        object_id,
        person_key,
        request_number,
        happened_at,
        action,
        attributes,
        relationship_attributes,
        is_person_gone,
        request_number <= coalesce(
            max(case when action = 'delete_object' then request_number end)
                over (partition by object_type_id, object_id),
            0
        ) as is_object_gone
    from named

)

select * from final

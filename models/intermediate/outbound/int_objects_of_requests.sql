{{ config(materialized='view') }}

with

requests as (

    select * from {{ ref('int_named_requests') }}
    where
        held_back_reason is null
        and request_id not in (select request_id from {{ ref('int_overfull_requests') }})

),

-- an identify call may name the object in its one relationship
person_side as (

    select
        request_id,
        message_id,
        happened_date,
        person_key,
        request_order,
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
        message_id,
        happened_date,
        person_key,
        request_order,
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
        request_id,
        message_id,
        happened_date,
        person_key,
        request_order,
        happened_at,
        action,
        {{ json_member('object_identifiers', 'object_type_id') }} as object_type_id,
        {{ json_member('object_identifiers', 'object_id') }} as object_id,
        attributes,
        relationship_attributes
    from both_sides

),

final as (

    select
        request_id,
        message_id,
        happened_date,
        person_key,
        request_order,
        happened_at,
        action,
        {{ surrogate_key(['object_type_id', 'object_id']) }} as object_key,
        object_type_id,
        object_id,
        attributes,
        relationship_attributes
    from named

)

select * from final

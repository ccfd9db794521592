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

with

calls as (

    {{ calls_of(['create_or_update_object', 'delete_object', 'delete_relationship']) }}

),

parsed as (

    select
        {{ call_columns() }},
        user_id,
        anonymous_id,
        group_id,
        traits,
        {{ json_fields('traits', ['objectTypeId', 'object_type_id']) }} as trait_fields,
        {{ json_fields('properties', ['email', 'objectId', 'objectTypeId', 'object_type_id']) }} as property_fields
    from calls

),

read as (

    select
        {{ call_columns() }},
        user_id,
        anonymous_id,
        traits,
        case
            when action = 'create_or_update_object' then group_id
            else {{ json_field('property_fields', 'objectId') }}
        end as object_id,
        coalesce(
            case when action = 'create_or_update_object' then {{ json_field('trait_fields', 'object_type_id') }} end,
            case when action = 'create_or_update_object' then {{ json_field('trait_fields', 'objectTypeId') }} end,
            {{ json_field('property_fields', 'object_type_id') }},
            {{ json_field('property_fields', 'objectTypeId') }},
            '1'
        ) as object_type_id,
        case when action = 'delete_relationship' then {{ json_field('property_fields', 'email') }} end as email,
        {{ json_value('traits', 'objectAttributes') }} as object_attributes,
        {{ json_value('traits', 'relationshipAttributes') }} as relationship_attributes
    from parsed

),

identified as (

    select
        {{ call_columns() }},
        user_id,
        anonymous_id,
        traits,
        object_id,
        object_type_id,
        object_attributes,
        relationship_attributes,
        case
            when action = 'delete_object' then null
            when user_id is not null then {{ identifier_type('user_id') }}
            when email is not null then 'email'
            when action = 'create_or_update_object' and anonymous_id is not null then 'anonymous_id'
        end as person_id_type,
        case
            when action = 'delete_object' then null
            when action = 'create_or_update_object' then coalesce(user_id, anonymous_id)
            else coalesce(user_id, email)
        end as person_id,
        coalesce(
            {{ person_identifier('user_id') }},
            case when email is not null then {{ json_object([['email', json_text('email')]]) }} end,
            {{ json_object([['anonymous_id', json_text('anonymous_id')]]) }}
        ) as identifiers
    from read

),

parts as (

    select
        request_id,
        'attributes' as part,
        1 as precedence,
        traits as json_text
    from identified
    where action = 'create_or_update_object'

    union all

    select
        request_id,
        'attributes' as part,
        2 as precedence,
        object_attributes as json_text
    from identified
    where
        action = 'create_or_update_object'
        and left(object_attributes, 1) = '{'

    union all

    select
        request_id,
        'attributes' as part,
        3 as precedence,
        {{ json_object([['anonymous_id', json_text('anonymous_id')]]) }} as json_text
    from identified
    where action != 'delete_object'

    union all

    select
        request_id,
        'relationship' as part,
        1 as precedence,
        relationship_attributes as json_text
    from identified
    where
        action = 'create_or_update_object'
        and left(relationship_attributes, 1) = '{'

),

{{ attributes_of('parts', ignored={
    'attributes': ['object_type_id', 'objectTypeId', 'objectAttributes', 'relationshipAttributes'],
}) }},

own as (

    select * from attributes
    where part = 'attributes'

),

related as (

    select * from attributes
    where part = 'relationship'

),

written as (

    select
        {{ call_columns('identified') }},
        identified.user_id,
        identified.object_id,
        identified.person_id_type,
        identified.person_id,
        {{ json_object([
            ['type', "'\"object\"'"],
            ['action', "case"
                ~ " when action = 'delete_object' then '\"delete\"'"
                ~ " when action = 'delete_relationship' then '\"delete_relationships\"'"
                ~ " when person_id_type = 'anonymous_id' then '\"identify_anonymous\"' else '\"identify\"' end"],
            ['identifiers', object_identifiers('object_type_id', 'object_id')],
            ['attributes', "case when action = 'create_or_update_object' then coalesce(own.members, '{}') else own.members end"],
            ['cio_relationships', "case when person_id is not null then '['"
                ~ ' || ' ~ json_object([
                    ['identifiers', 'identifiers'],
                    ['relationship_attributes', 'related.members'],
                ]) ~ " || ']' end"],
        ]) }} as payload
    from identified
    left join own
        on identified.request_id = own.request_id
    left join related
        on identified.request_id = related.request_id

),

final as (

    select
        {{ request_columns('batch', is_event=false, relation='written') }},
        {{ held_back(
            [
                ['missing_object_id', 'object_id is null'],
                ['no_identifier', "action = 'delete_relationship' and person_id is null"],
            ],
            ids=['user_id', 'object_id'],
            attributes=['own', 'related'],
        ) }} as held_back_reason
    from written
    left join own
        on written.request_id = own.request_id
    left join related
        on written.request_id = related.request_id

)

select * from final

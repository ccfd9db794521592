with

members as (

    select * from {{ ref('stg_customerio_api__segment_members') }}

),

final as (

    select
        segment_id,
        person_key,
        cio_id,
        user_id,
        extracted_at as first_read_at
    from members

)

select * from final
